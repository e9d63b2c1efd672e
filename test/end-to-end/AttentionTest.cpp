//===- AttentionTest.cpp - Windows, encoders and types of the KV cache ----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Models of two layers with random weights, whose steps are compared with the plain
// function on the same device, and that with the interpreter's.
//
//===----------------------------------------------------------------------===//

#include "Models.h"

#include "runtime/Encoder.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"

#include "test/support/TempFolder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>

using namespace mlsys;
using namespace mlsys::test;
using rt::Purpose;

namespace {

constexpr int64_t vocabulary = 48, hidden = 32;

/// How the layers attend, and what the model gives.
struct ModelKind {
  std::string name;
  std::vector<std::string> attentions;
  bool encoder = false, tokenTypes = false;
  /// The window that the steps should have.
  int64_t window = 0;
  /// Query heads of eight elements, two for each key head.
  int64_t heads = 4;
};

const ModelKind kinds[] = {
    {"plain", {"causal", "causal"}},
    {"windows", {"causal window 9", "causal window 70"}, false, false, 70},
    {"alternating", {"causal window 9 softcap 2.0", "causal softcap 0.5"}},
    {"encoder", {"", "softcap 3.0"}, true, false},
    {"segments", {"", ""}, true, true},
    {"slopes", {"causal slopes [0.3, 0.03, 0.003, 0.0003]", "causal window 70 softcap 2.0 slopes [0.5, 0.25, 0.125, 0.0625]"}},
};

std::string modelText(const ModelKind &kind) {
  std::string text = R"(
!ids = tensor<?x?xi64, #graph.dims<[B, S]>>
!x = tensor<?x?x$Xxf32, #graph.dims<[B, S, $X]>>
!q = tensor<?x?x$Hx8xf32, #graph.dims<[B, S, $H, 8]>>
!k = tensor<?x?x$Gx8xf32, #graph.dims<[B, S, $G, 8]>>
!kv = tensor<?x?x$Yxf32, #graph.dims<[B, S, $Y]>>
!y = tensor<?x?x48xf32, #graph.dims<[B, S, 48]>>
func.func @forward(%ids: !ids {graph.name = "input_ids", graph.role = "token_ids"}$ARGUMENT) -> ($RESULT)
    attributes {graph.phase = "plain", graph.symbols = [#graph.symbol<"B", min = 1, max = -1, hint = 1>, #graph.symbol<"S", min = 1, max = 1048576, hint = 128>]} {
  %table = graph.weight "embed" : tensor<48x$Xxf32> from #graph.weight_source<file = -1, offset = 0, bytes = 0, dtype = "random", shape = [48, $X]>
  %wt = graph.weight "types" : tensor<48x$Xxf32> from #graph.weight_source<file = -1, offset = 1, bytes = 0, dtype = "random", shape = [48, $X]>
  %wq = graph.weight "q" : tensor<$Xx$Xxf32> from #graph.weight_source<file = -1, offset = 2, bytes = 0, dtype = "random", shape = [$X, $X]>
  %wk = graph.weight "k" : tensor<$Yx$Xxf32> from #graph.weight_source<file = -1, offset = 3, bytes = 0, dtype = "random", shape = [$Y, $X]>
  %wv = graph.weight "v" : tensor<$Yx$Xxf32> from #graph.weight_source<file = -1, offset = 4, bytes = 0, dtype = "random", shape = [$Y, $X]>
  %n = graph.constant dense<1.0> : tensor<$Xxf32>
  %frequencies = graph.constant dense<[1.0, 0.3, 0.1, 0.02]> : tensor<4xf32>
  %positions = graph.iota dim 0 : tensor<?xi32, #graph.dims<[S]>>
  %e = graph.embedding %ids, %table : !ids, tensor<48x$Xxf32> -> !x
)";
  text += kind.tokenTypes ? "  %t = graph.embedding %types, %wt : !ids, tensor<48x$Xxf32> -> !x\n"
                            "  %x0 = graph.add %e, %t : !x\n"
                          : "  %x0 = graph.add %e, %e : !x\n";
  for (size_t layer = 0; layer < kind.attentions.size(); ++layer) {
    std::string block = R"(
  %h@ = graph.rms_norm %x@, %n epsilon 1.0e-5 : !x, tensor<$Xxf32>
  %qa@ = graph.linear %h@, %wq : (!x, tensor<$Xx$Xxf32>) -> !x
  %ka@ = graph.linear %h@, %wk : (!x, tensor<$Yx$Xxf32>) -> !kv
  %va@ = graph.linear %h@, %wv : (!x, tensor<$Yx$Xxf32>) -> !kv
  %qb@ = graph.reshape %qa@ : !x -> !q
  %kb@ = graph.reshape %ka@ : !kv -> !k
  %v@ = graph.reshape %va@ : !kv -> !k
  %q@ = graph.rope %qb@, %positions, %frequencies : !q, tensor<?xi32, #graph.dims<[S]>>, tensor<4xf32>
  %k@ = graph.rope %kb@, %positions, %frequencies : !k, tensor<?xi32, #graph.dims<[S]>>, tensor<4xf32>
  %a@ = graph.attention %q@, %k@, %v@ $ATTENTION scale 60.0 : !q, !k
  %o@ = graph.reshape %a@ : !q -> !x
  %x^ = graph.add %x@, %o@ : !x
)";
    for (char &letter : block)
      letter = letter == '@' ? char('0' + int(layer)) : letter == '^' ? char('1' + int(layer)) : letter;
    block.replace(block.find("$ATTENTION"), 10, kind.attentions[layer]);
    text += block;
  }
  std::string last = "%x" + std::to_string(kind.attentions.size());
  text += kind.encoder ? "  return " + last + " : !x\n}\n"
                       : "  %l = graph.linear " + last + ", %table : (!x, tensor<48x$Xxf32>) -> !y\n  return %l : !y\n}\n";
  auto put = [&](const std::string &name, const std::string &value) {
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at))
      text.replace(at, name.size(), value);
  };
  put("$X", std::to_string(8 * kind.heads));
  put("$Y", std::to_string(4 * kind.heads));
  put("$H", std::to_string(kind.heads));
  put("$G", std::to_string(kind.heads / 2));
  put("$ARGUMENT", kind.tokenTypes ? ", %types: !ids {graph.name = \"token_type_ids\", graph.role = \"token_types\"}" : "");
  put("$RESULT", kind.encoder ? "!x {graph.name = \"embeddings\", graph.role = \"logits\", graph.per_token}"
                              : "!y {graph.name = \"logits\", graph.role = \"logits\"}");
  return text;
}

rt::ModelHandle open(const ModelKind &kind, const std::string &device, Purpose purpose,
                     const std::string &kvType = "auto", int64_t contextTokens = 4096) {
  static rt::test::TempFolder folder;
  std::string path = folder.path(kind.name + ".mlir");
  std::ofstream(path) << modelText(kind);
  CompileRequest request;
  request.model = path;
  request.kvType = kvType;
  rt::OpenOptions options;
  options.device.device = device;
  options.purpose = purpose;
  options.contextTokens = contextTokens;
  llvm::Expected<OpenedModel> result = openModel(std::move(request), options);
  if (!result)
    throw rt::Error("{}", llvm::toString(result.takeError()));
  return std::move(result->handle);
}

std::vector<int64_t> randomIds(int64_t count, int64_t limit, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < count; ++i)
    ids.push_back(int64_t(random() % uint32_t(limit)));
  return ids;
}

rt::HostTensor idTensor(const std::string &name, const std::vector<int64_t> &ids) {
  rt::HostTensor tensor{name, program::DType::I64, {1, int64_t(ids.size())}, {}};
  std::span<const std::byte> bytes = std::as_bytes(std::span(ids));
  tensor.data.assign(bytes.begin(), bytes.end());
  return tensor;
}

/// The rows of the plain function.
std::vector<float> plainRows(rt::ModelHandle &model, const std::vector<int64_t> &ids,
                             const std::vector<int64_t> &types = {}) {
  std::vector<rt::HostTensor> inputs = {idTensor("input_ids", ids)};
  if (!types.empty())
    inputs.push_back(idTensor("token_type_ids", types));
  std::vector<rt::HostTensor> results = model.tensors->run("forward", inputs);
  std::vector<float> rows(results.at(0).data.size() / sizeof(float));
  std::memcpy(rows.data(), results[0].data.data(), results[0].data.size());
  return rows;
}

/// The logits after the token at `position`.
std::vector<float> rowOf(const std::vector<float> &rows, int64_t position, int64_t width = vocabulary) {
  return {rows.begin() + position * width, rows.begin() + (position + 1) * width};
}

struct Case {
  size_t kind;
  std::string device;
};

std::vector<Case> cases(bool encoder) {
  std::vector<Case> all;
  for (const std::string &device : devices())
    for (size_t kind = 0; kind < std::size(kinds); ++kind)
      if (kinds[kind].encoder == encoder)
        all.push_back({kind, device});
  return all;
}

void PrintTo(const Case &test, std::ostream *os) { *os << kinds[test.kind].name << " on " << test.device; }

std::string nameOf(const testing::TestParamInfo<Case> &info) {
  std::string name = kinds[info.param.kind].name + "_" + info.param.device;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

using Steps = testing::TestWithParam<Case>;

TEST_P(Steps, GiveTheRowsOfThePlainFunction) {
  const ModelKind &kind = kinds[GetParam().kind];
  rt::ModelHandle plain = open(kind, GetParam().device, Purpose::Tensors);
  rt::ModelHandle steps = open(kind, GetParam().device, Purpose::Text);
  EXPECT_EQ(steps.language->window(), kind.window);
  std::vector<int64_t> ids = randomIds(260, vocabulary);
  std::vector<float> expected = plainRows(plain, ids);
  for (int64_t chunk : {256, 50, 1}) {
    rt::KvCache cache(steps.language->pageSize(), steps.language->pageCount());
    rt::Sequence sequence(*steps.language, cache);
    for (int64_t done = 0; done < 260;) {
      int64_t count = std::min(chunk, 260 - done);
      std::span<const float> logits = sequence.push(std::span(ids).subspan(size_t(done), size_t(count)));
      done += count;
      ASSERT_LE(relativeDifference({logits.begin(), logits.end()}, rowOf(expected, done - 1)), 1e-4)
          << "token " << done << " in steps of " << chunk;
    }
    // Five pages hold 260 tokens; two of them the last 70.
    int64_t used = steps.language->pageCount() - cache.freePages();
    if (!kind.window) {
      EXPECT_EQ(used, 5);
    } else if (chunk == 1) {
      EXPECT_LE(used, 3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Attention, Steps, testing::ValuesIn(cases(false)), nameOf);

TEST(Attention, PlainFunctionsAgreeWithTheInterpreter) {
  for (const ModelKind &kind : kinds) {
    std::vector<int64_t> ids = randomIds(100, kind.encoder ? hidden : vocabulary), types;
    if (kind.tokenTypes)
      types = randomIds(100, 2, 3);
    rt::ModelHandle reference = open(kind, "reference", Purpose::Tensors);
    std::vector<float> expected = plainRows(reference, ids, types);
    for (std::string device : {"cpu", "host-cuda"}) {
      rt::ModelHandle model = open(kind, device, Purpose::Tensors);
      EXPECT_LE(relativeDifference(plainRows(model, ids, types), expected), 1e-4)
          << kind.name << " on " << device;
    }
  }
}

TEST(Attention, TheKvCacheMayHaveAnotherType) {
  std::vector<int64_t> ids = randomIds(150, vocabulary);
  rt::ModelHandle plain = open(kinds[0], "cpu", Purpose::Tensors);
  std::vector<float> expected = rowOf(plainRows(plain, ids), 149);
  // The distance of neighbouring numbers of a type, and room for two layers.
  const std::pair<std::string, double> types[] = {{"f32", 1e-5}, {"f16", 1e-2}, {"bf16", 8e-2}};
  for (const std::string &device : devices())
    for (auto &[type, tolerance] : types) {
      rt::ModelHandle model = open(kinds[0], device, Purpose::Text, type);
      rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
      rt::Sequence sequence(*model.language, cache);
      sequence.push(std::span(ids).first(149));
      std::span<const float> logits = sequence.push(std::span(ids).last(1));
      double difference = relativeDifference({logits.begin(), logits.end()}, expected);
      EXPECT_LE(difference, tolerance) << type << " on " << device;
      if (type != "f32") {
        EXPECT_GT(difference, 1e-5) << type << " on " << device << ": not rounded";
      }
    }
}

using Encoders = testing::TestWithParam<Case>;

TEST_P(Encoders, GiveEveryTokensRow) {
  const ModelKind &kind = kinds[GetParam().kind];
  rt::ModelHandle plain = open(kind, GetParam().device, Purpose::Tensors);
  rt::ModelHandle model = open(kind, GetParam().device, Purpose::Text);
  ASSERT_TRUE(model.language->bidirectional());
  ASSERT_TRUE(model.language->perToken());
  ASSERT_EQ(model.language->vocabSize(), hidden);
  // Shorter than a page, longer, and too many for one step.
  std::vector<int64_t> lengths = {7, 1, 130, 64, 33};
  std::vector<std::vector<int64_t>> ids, types;
  std::vector<rt::EncoderInput> inputs;
  std::vector<float> expected;
  for (size_t i = 0; i < lengths.size(); ++i) {
    ids.push_back(randomIds(lengths[i], hidden, unsigned(i)));
    types.push_back(kind.tokenTypes ? randomIds(lengths[i], 2, unsigned(i) + 9) : std::vector<int64_t>());
    std::vector<float> rows = plainRows(plain, ids.back(), types.back());
    expected.insert(expected.end(), rows.begin(), rows.end());
  }
  for (size_t i = 0; i < lengths.size(); ++i)
    inputs.push_back({ids[i], types[i]});
  rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
  std::vector<float> rows = rt::encode(*model.language, cache, inputs);
  EXPECT_LE(relativeDifference(rows, expected), 1e-4);
  EXPECT_EQ(cache.freePages(), model.language->pageCount());
  // Alone, a sequence gives the same.
  rows = rt::encode(*model.language, cache, std::span(inputs).subspan(2, 1));
  std::vector<float> alone(expected.begin() + 8 * hidden, expected.begin() + 138 * hidden);
  EXPECT_LE(relativeDifference(rows, alone), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Attention, Encoders, testing::ValuesIn(cases(true)), nameOf);

std::string problemOf(const std::function<void()> &work) {
  try {
    work();
  } catch (const rt::Error &error) {
    return error.what();
  }
  return "";
}

TEST(Attention, EncodersSayWhatTheyCannotDo) {
  rt::ModelHandle model = open(kinds[3], "cpu", Purpose::Text, "auto", 100);
  auto sample = [](std::span<const float>) { return int64_t(0); };
  EXPECT_EQ(problemOf([&] { rt::generate(*model.language, randomIds(3, hidden), {}, sample, [](int64_t) {}); }),
            "the model is an encoder: it makes embeddings of texts and cannot write any");
  rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
  auto encode = [&](const std::vector<int64_t> &ids, const std::vector<int64_t> &types) {
    rt::EncoderInput inputs[] = {{ids, types}};
    return problemOf([&] { rt::encode(*model.language, cache, inputs); });
  };
  EXPECT_EQ(encode({}, {}), "text 1 has no tokens");
  EXPECT_EQ(encode({1, 2}, {0}), "text 1 has 2 tokens but 1 token types");
  EXPECT_EQ(encode(randomIds(101, hidden), {}),
            "text 1 has 101 tokens, more than the 100 that the model takes; shorten it");
  EXPECT_EQ(encode({hidden}, {}), "token id 32 of text 1 is not in the vocabulary of 32");
}

/// Rows of every sequence's last token, for models that give one row a request.
TEST(Attention, CausalModelsEncodeLongTextsInParts) {
  for (size_t kind : {0, 1}) {
    rt::ModelHandle plain = open(kinds[kind], "cpu", Purpose::Tensors);
    rt::ModelHandle model = open(kinds[kind], "cpu", Purpose::Text);
    std::vector<int64_t> first = randomIds(1300, vocabulary), second = randomIds(5, vocabulary, 2);
    rt::EncoderInput inputs[] = {{first}, {second}};
    rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
    std::vector<float> rows = rt::encode(*model.language, cache, inputs);
    std::vector<float> expected = rowOf(plainRows(plain, first), 1299), last = rowOf(plainRows(plain, second), 4);
    expected.insert(expected.end(), last.begin(), last.end());
    EXPECT_LE(relativeDifference(rows, expected), 1e-4) << kinds[kind].name;
    EXPECT_EQ(cache.freePages(), model.language->pageCount());
  }
}

/// A prompt of 32768 tokens in steps, against the plain function over all of them.
TEST(Attention, LongContexts) {
  const ModelKind longKinds[] = {
      {"long", {"causal"}, false, false, 0, 2},
      {"long_windows", {"causal window 300", "causal window 1000 softcap 5.0"}, false, false, 1000, 2}};
  // test/scripts/long-context asks for more.
  const char *wanted = std::getenv("MLSYS_LONG_CONTEXT");
  const int64_t count = wanted ? std::stoll(wanted) : 32768, chunk = 512;
  std::vector<int64_t> ids = randomIds(count, vocabulary);
  for (const ModelKind &kind : longKinds) {
    rt::ModelHandle plain = open(kind, "cpu", Purpose::Tensors);
    rt::ModelHandle model = open(kind, "cpu", Purpose::Text, "auto", count);
    ASSERT_EQ(model.language->contextLength(), count);
    if (kind.window) {
      EXPECT_LE(model.language->pageCount() * model.language->pageSize(), 2048);
    }
    std::vector<float> rows = plainRows(plain, ids);
    rt::KvCache cache(model.language->pageSize(), model.language->pageCount());
    rt::Sequence sequence(*model.language, cache);
    auto push = [&](int64_t from, int64_t to) {
      std::span<const float> logits = sequence.push(std::span(ids).subspan(size_t(from), size_t(to - from)));
      ASSERT_LE(relativeDifference({logits.begin(), logits.end()}, rowOf(rows, to - 1)), 1e-4)
          << kind.name << ", token " << to;
    };
    // The last tokens one by one.
    for (int64_t done = 0; done < count && !HasFatalFailure();) {
      int64_t end = done < count - 3 ? std::min(done + chunk, count - 3) : done + 1;
      push(done, end);
      done = end;
    }
  }
}

} // namespace
