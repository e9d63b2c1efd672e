//===- MutationTest.cpp - Damaged files: an error, never a crash ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Thousands of damaged copies of small files. A reader either throws rt::Error
// or gives what may be used; any other exception fails the test, and the
// sanitizers' build shows what else goes wrong.
//
//===----------------------------------------------------------------------===//
#include "test/support/Mutator.h"
#include "test/support/TempFolder.h"
#include "TestPrograms.h"

#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Gguf.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/MappedFile.h"
#include "runtime/Npy.h"
#include "runtime/Program.h"
#include "runtime/Safetensors.h"
#include "runtime/Tokenizer.h"

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>

using namespace mlsys;
using namespace mlsys::rt;
using mlsys::program::DType;
using mlsys::test::Mutator;
using mlsys::test::readBytes;
using mlsys::test::TempFolder;

namespace {

/// How many copies were accepted and how many refused.
struct Outcome {
  int accepted = 0, refused = 0;
};

/// Calls `read` with `count` damaged copies of `good`.
Outcome readDamaged(uint64_t seed, int count, const std::string &good, size_t headerBytes,
                    const std::function<void(const std::string &)> &read) {
  Mutator mutator(seed);
  Outcome outcome;
  for (int i = 0; i < count; ++i) {
    std::string bad = mutator.mutate(good, headerBytes);
    try {
      read(bad);
      ++outcome.accepted;
    } catch (const Error &error) {
      ++outcome.refused;
      EXPECT_FALSE(std::string_view(error.what()).empty());
    } catch (const std::exception &error) {
      ADD_FAILURE() << "seed " << seed << ", copy " << i << ": " << typeid(error).name() << ": "
                    << error.what();
    }
  }
  return outcome;
}

/// Reads every element of every tensor.
double sumOf(const std::vector<StoredTensor> &tensors, const MappedFile &file) {
  double sum = 0;
  for (const StoredTensor &tensor : tensors) {
    EXPECT_LE(tensor.offset, file.size());
    EXPECT_LE(tensor.bytes, file.size() - tensor.offset);
    EXPECT_EQ(tensor.bytes, storedBytes(tensor.name, tensor.dtype, tensor.shape));
    if (!isFloatDType(tensor.dtype))
      continue;
    int64_t count = static_cast<int64_t>(tensor.bytes) / dtypeBlockBytes(tensor.dtype) *
                    dtypeBlockElements(tensor.dtype);
    std::vector<float> values(static_cast<size_t>(count));
    convertToF32(tensor.dtype, file.data() + tensor.offset, values.data(), count);
    for (float value : values)
      sum += std::isfinite(value) ? value : 0;
  }
  return sum;
}

std::string smallSafetensors() {
  std::string header =
      R"({"__metadata__":{"format":"pt"},)"
      R"("a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("b.weight":{"dtype":"BF16","shape":[4,2],"data_offsets":[24,40]},)"
      R"("c":{"dtype":"I64","shape":[],"data_offsets":[40,48]},)"
      R"("d":{"dtype":"BOOL","shape":[0,7],"data_offsets":[48,48]}})";
  uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(48, '\x3f');
}

TEST(Mutation, Safetensors) {
  TempFolder folder(mlsys::rt::test::memoryParent());
  std::string good = smallSafetensors();
  Outcome outcome = readDamaged(1, 6000, good, good.size() - 48, [&](const std::string &bytes) {
    std::string path = folder.write("m.safetensors", bytes);
    Safetensors file = readSafetensors(path);
    sumOf(file.tensors, MappedFile(path));
    for (const StoredTensor &tensor : file.tensors)
      EXPECT_TRUE(file.find(tensor.name));
  });
  EXPECT_GT(outcome.accepted, 30);
  EXPECT_GT(outcome.refused, 1000);
}

TEST(Mutation, SafetensorsIndex) {
  TempFolder folder(mlsys::rt::test::memoryParent());
  folder.write("model-1.safetensors", smallSafetensors());
  std::string good = R"({"metadata":{"total_size":88},"weight_map":{"a.weight":)"
                     R"("model-1.safetensors","b.weight":"model-1.safetensors"}})";
  Outcome outcome = readDamaged(2, 2000, good, good.size(), [&](const std::string &bytes) {
    folder.write("model.safetensors.index.json", bytes);
    Safetensors model = readSafetensorsFolder(folder.path());
    for (const StoredTensor &tensor : model.tensors)
      EXPECT_LT(tensor.file, model.files.size());
  });
  EXPECT_GT(outcome.accepted, 50);
  EXPECT_GT(outcome.refused, 500);
}

/// Asks for every key in every way.
void askForAll(const Gguf &file) {
  for (const auto &[key, value] : file.metadata) {
    auto ask = [&key = key](auto getter) {
      try {
        getter(key);
      } catch (const Error &) {
        // A wrong type.
      }
    };
    ask([&](const std::string &k) { return file.getUnsigned(k).has_value(); });
    ask([&](const std::string &k) { return file.getDouble(k).has_value(); });
    ask([&](const std::string &k) { return file.getBool(k).has_value(); });
    ask([&](const std::string &k) { return file.getString(k).has_value(); });
    ask([&](const std::string &k) { return file.getStrings(k) != nullptr; });
    if (value.type == GgufType::Array && value.elementType != GgufType::String &&
        value.elementType != GgufType::Array)
      for (uint64_t i = 0; i < value.count; ++i)
        EXPECT_TRUE(value.element(i).asDouble().has_value());
  }
}

TEST(Mutation, Gguf) {
  TempFolder folder(mlsys::rt::test::memoryParent());
  std::string good = readBytes(MLSYS_TEST_DATA "/gguf/types.gguf");
  Outcome outcome = readDamaged(3, 6000, good, 1200, [&](const std::string &bytes) {
    std::string path = folder.write("m.gguf", bytes);
    Gguf file = readGguf(path);
    askForAll(file);
    sumOf(file.tensors, MappedFile(path));
  });
  EXPECT_GT(outcome.accepted, 100);
  EXPECT_GT(outcome.refused, 1000);
}

TEST(Mutation, Npy) {
  TempFolder folder(mlsys::rt::test::memoryParent());
  std::string good = readBytes(MLSYS_TEST_DATA "/models/stories260K/expected_input_ids.npy");
  Outcome outcome = readDamaged(4, 4000, good, 128, [&](const std::string &bytes) {
    NpyArray array = readNpy(folder.write("m.npy", bytes));
    EXPECT_EQ(array.data.size(), tensorBytes(array.dtype, array.shape));
  });
  EXPECT_GT(outcome.accepted, 100);
  EXPECT_GT(outcome.refused, 1000);
}

TEST(Mutation, ProgramFile) {
  TempFolder folder(mlsys::rt::test::memoryParent());
  program::ProgramT program = mlsys::test::languageProgram();
  for (auto &library : program.targets[0]->cpu_libraries)
    library->data.assign(64, 1);
  std::vector<std::byte> weights(100, std::byte{7});
  std::span<const std::byte> parts[] = {weights};
  writeProgramFile(folder.path("good.mlsys"), mlsys::test::pack(program), parts);
  std::string good = readBytes(folder.path("good.mlsys"));
  Outcome outcome = readDamaged(5, 2000, good, good.size(), [&](const std::string &bytes) {
    LoadedProgram loaded = LoadedProgram::fromFile(folder.write("m.mlsys", bytes));
    std::unique_ptr<program::ProgramT> everything(loaded->UnPack());
    EXPECT_EQ(loaded.appendedData().size(), 100u);
  });
  // Whatever changes a checked byte is refused; padding may change.
  EXPECT_GT(outcome.refused, 1000);
  // The trailer alone, the last 40 bytes.
  std::string body = good.substr(0, good.size() - 40), trailer = good.substr(good.size() - 40);
  outcome = readDamaged(6, 2000, trailer, 40, [&](const std::string &bytes) {
    LoadedProgram::fromFile(folder.write("m.mlsys", body + bytes));
  });
  EXPECT_GT(outcome.refused, 1900);
}

TEST(Mutation, TokenizerJson) {
  std::string good =
      R"({"added_tokens":[{"id":0,"content":"<s>","special":true},{"id":9,"content":"<|x|>",)"
      R"("special":false,"lstrip":true}],"normalizer":{"type":"Sequence","normalizers":[)"
      R"({"type":"NFC"},{"type":"Replace","pattern":{"String":"z"},"content":"a"}]},)"
      R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits",)"
      R"("individual_digits":true},{"type":"Split","pattern":{"Regex":"\\s+|a+?b"},)"
      R"("behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,)"
      R"("use_regex":true}]},"post_processor":{"type":"TemplateProcessing","single":[)"
      R"({"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],)"
      R"("special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}},)"
      R"("decoder":{"type":"ByteLevel"},"model":{"type":"BPE","byte_fallback":false,)"
      R"("vocab":{"<s>":0,"a":1,"b":2,"ab":3,"c":4,"abc":5,"d":6,"Ġ":7,"Ġa":8},)"
      R"("merges":["a b",["ab","c"],"Ġ a"]}})";
  ASSERT_EQ(Tokenizer::fromJson(good).encode("abc"), (std::vector<int64_t>{0, 3, 4}));
  Outcome outcome = readDamaged(7, 3000, good, good.size(), [](const std::string &text) {
    Tokenizer tokenizer = Tokenizer::fromJson(text);
    std::vector<int64_t> ids = tokenizer.encode("abc <|x|> a12 b\xff zz");
    tokenizer.decode(ids, false);
    for (int64_t id : ids)
      tokenizer.tokenBytes(id);
  });
  EXPECT_GT(outcome.accepted, 100);
  EXPECT_GT(outcome.refused, 500);
}

/// Vocabularies with lengths and ids that contradict each other.
TEST(Mutation, GgufVocabulary) {
  Mutator mutator(8);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 2000; ++i) {
    GgufVocabulary vocabulary;
    vocabulary.model = mutator.pick(2) ? "gpt2" : "llama";
    vocabulary.pre = mutator.pick(4) ? "smollm" : "default";
    vocabulary.tokens = {"<s>", "a", "b", "ab", "<0x41>", "\u2581", "<unk>"};
    vocabulary.types = {3, 1, 1, 1, 6, 1, 2};
    vocabulary.scores = {0, -1, -2, -3, 0, -4, 0};
    vocabulary.merges = {"a b"};
    for (std::string &token : vocabulary.tokens)
      if (mutator.pick(8) == 0)
        token = mutator.mutate(token, token.size());
    for (std::string &merge : vocabulary.merges)
      if (mutator.pick(4) == 0)
        merge = mutator.mutate(merge, merge.size());
    if (mutator.pick(4) == 0)
      vocabulary.types.resize(mutator.pick(9));
    if (mutator.pick(4) == 0)
      vocabulary.scores.resize(mutator.pick(9));
    for (int32_t &type : vocabulary.types)
      if (mutator.pick(8) == 0)
        type = static_cast<int32_t>(mutator.pick(9)) - 1;
    for (float &score : vocabulary.scores)
      if (mutator.pick(16) == 0)
        score = std::nanf("");
    vocabulary.bosId = static_cast<int64_t>(mutator.pick(10)) - 2;
    vocabulary.unkId = static_cast<int64_t>(mutator.pick(10)) - 2;
    try {
      Tokenizer::fromJson(tokenizerJsonFromGguf(vocabulary)).encode("ab aAb");
      ++accepted;
    } catch (const Error &) {
      ++refused;
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

} // namespace
