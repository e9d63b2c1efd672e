//===- GeneratorTest.cpp - From prompt ids to generated ids -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Generator.h"
#include "TestPrograms.h"
#include "runtime/Error.h"
#include "runtime/ProgramModel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

/// What the language program generates: see languageProgram().
std::vector<int64_t> expectedIds(std::vector<int64_t> context, size_t count) {
  std::vector<int64_t> ids;
  while (ids.size() < count) {
    int64_t sum = std::accumulate(context.begin(), context.end(), int64_t(context.size()));
    ids.push_back(sum % 16);
    context.push_back(ids.back());
  }
  return ids;
}

int64_t greedy(std::span<const float> logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

struct Opened {
  explicit Opened(program::ProgramT source = languageProgram(), int64_t context = 0) {
    OpenOptions options;
    options.device = {"cpu", 1};
    options.contextTokens = context;
    handle = openProgram(LoadedProgram::fromBytes(pack(source), ""), options);
  }
  LanguageModel &model() { return *handle.language; }
  Generation run(const std::vector<int64_t> &prompt, const GenerationLimits &limits) {
    return generate(model(), prompt, limits, greedy, [&](int64_t id) { streamed.push_back(id); });
  }
  std::string problem(const std::vector<int64_t> &prompt) {
    try {
      run(prompt, {});
    } catch (const Error &error) {
      return error.what();
    }
    return "";
  }
  ModelHandle handle;
  std::vector<int64_t> streamed;
};

TEST(Generator, ChunksOfAnySizeAgree) {
  std::vector<int64_t> prompt = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5};
  for (int64_t chunk : {0, 1, 3, 8, 100}) {
    Opened opened;
    GenerationLimits limits;
    limits.maxTokens = 20;
    limits.chunk = chunk;
    Generation result = opened.run(prompt, limits);
    EXPECT_EQ(result.ids, expectedIds(prompt, 20)) << "chunk " << chunk;
    EXPECT_EQ(opened.streamed, result.ids);
    EXPECT_EQ(result.reason, StopReason::Length);
    EXPECT_EQ(result.promptTokens, 11);
    EXPECT_EQ(result.decodeSteps, 19);
  }
}

TEST(Generator, WorksWithoutDecodeOrPrefillFunctions) {
  for (bool prefill : {true, false}) {
    program::ProgramT source = languageProgram();
    auto &functions = source.targets[0]->functions;
    if (prefill)
      functions.erase(functions.begin() + 1, functions.begin() + 3);
    else
      functions.erase(functions.begin());
    Opened opened(std::move(source));
    GenerationLimits limits;
    limits.maxTokens = 9;
    EXPECT_EQ(opened.run({7, 7, 7}, limits).ids, expectedIds({7, 7, 7}, 9));
  }
}

TEST(Generator, StopsAtAStopId) {
  std::vector<int64_t> expected = expectedIds({2, 4}, 5);
  Opened opened;
  GenerationLimits limits;
  limits.stopIds = {expected[3]};
  Generation result = opened.run({2, 4}, limits);
  EXPECT_EQ(result.reason, StopReason::StopId);
  size_t first = size_t(std::find(expected.begin(), expected.end(), expected[3]) -
                        expected.begin());
  EXPECT_EQ(result.ids, std::vector<int64_t>(expected.begin(), expected.begin() + long(first)));
}

TEST(Generator, StopsAtTheEndOfTheContext) {
  Opened opened(languageProgram(), 10);
  GenerationLimits limits;
  limits.maxTokens = -1;
  Generation result = opened.run({1, 2, 3}, limits);
  EXPECT_EQ(result.reason, StopReason::Context);
  // The last id needs no room for itself.
  EXPECT_EQ(result.ids, expectedIds({1, 2, 3}, 8));
  // A prompt that fills the context still gets one token.
  EXPECT_EQ(opened.run(std::vector<int64_t>(10, 1), limits).ids.size(), 1u);
}

TEST(Generator, Cancels) {
  Opened opened;
  std::atomic<bool> cancel{false};
  GenerationLimits limits;
  limits.cancel = &cancel;
  Generation result = generate(opened.model(), std::vector<int64_t>{1}, limits, greedy,
                               [&](int64_t) { cancel = true; });
  EXPECT_EQ(result.reason, StopReason::Cancelled);
  EXPECT_EQ(result.ids.size(), 1u);
  result = opened.run({1}, limits);
  EXPECT_EQ(result.reason, StopReason::Cancelled);
  EXPECT_TRUE(result.ids.empty());
}

TEST(Generator, RefusesWrongPrompts) {
  Opened opened;
  EXPECT_EQ(opened.problem({}), "the prompt is empty");
  EXPECT_EQ(opened.problem({16}), "token id 16 of the prompt is not in the vocabulary of 16");
  EXPECT_EQ(opened.problem({-1}), "token id -1 of the prompt is not in the vocabulary of 16");
  EXPECT_EQ(opened.problem(std::vector<int64_t>(65, 1)),
            "the prompt has 65 tokens, more than the context of 64; shorten it or use a larger "
            "--ctx-size");
}

TEST(Generator, RefusesFunctionsOfDifferentKinds) {
  program::ProgramT source = languageProgram();
  source.targets[0]->functions[1]->per_token = true;
  try {
    Opened opened(std::move(source));
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "function 'decode_1' is of another kind than the functions before it");
  }
}

TEST(Generator, GeneratesNothingWhenAskedTo) {
  Opened opened;
  GenerationLimits limits;
  limits.maxTokens = 0;
  EXPECT_TRUE(opened.run({1}, limits).ids.empty());
}

/// A conversation runs only what its cache lacks, whatever became of the text before.
TEST(Conversation, KeepsTheLongestCommonBeginning) {
  Opened opened;
  Conversation conversation(opened.model());
  GenerationLimits limits;
  limits.maxTokens = 4;
  auto turn = [&](const std::vector<int64_t> &prompt) {
    Generation result =
        conversation.generate(prompt, limits, greedy, [](int64_t) { return Next::Continue; });
    EXPECT_EQ(result.ids, expectedIds(prompt, 4));
    EXPECT_EQ(result.promptTokens, int64_t(prompt.size()));
    // The last id was not fed to the model.
    EXPECT_EQ(conversation.ids().size(), prompt.size() + 3);
    return result;
  };
  std::vector<int64_t> context = {3, 1, 4, 1, 5, 9};
  Generation first = turn(context);
  EXPECT_EQ(first.cachedTokens, 0);
  // The next turn goes on behind the answer, the last id of which is new.
  context.insert(context.end(), first.ids.begin(), first.ids.end());
  context.insert(context.end(), {2, 6, 5});
  EXPECT_EQ(turn(context).cachedTokens, 9);
  // The same again: only the last token runs.
  EXPECT_EQ(turn(context).cachedTokens, int64_t(context.size()) - 1);
  // History rewritten in the middle, within a page.
  context[5] = 8;
  EXPECT_EQ(turn(context).cachedTokens, 5);
  // Shorter than what is there.
  context.resize(3);
  EXPECT_EQ(turn(context).cachedTokens, 2);
  // All different.
  EXPECT_EQ(turn({9, 9, 9, 9, 9}).cachedTokens, 0);
  conversation.reset();
  EXPECT_EQ(conversation.ids().size(), 0u);
  EXPECT_EQ(turn({9, 9, 9, 9, 9}).cachedTokens, 0);
}

TEST(Conversation, StopsWhenTheTextDoes) {
  Opened opened;
  Conversation conversation(opened.model());
  int left = 3;
  Generation result =
      conversation.generate(std::vector<int64_t>{1, 2}, {}, greedy,
                            [&](int64_t) { return --left == 0 ? Next::Stop : Next::Continue; });
  EXPECT_EQ(result.reason, StopReason::StopText);
  EXPECT_EQ(result.ids, expectedIds({1, 2}, 3));
}

/// A step that fails leaves the cache as it was.
TEST(Conversation, SurvivesAFailedStep) {
  struct Failing : LanguageModel {
    explicit Failing(LanguageModel &model) : model(model) {}
    int64_t contextLength() const override { return model.contextLength(); }
    int64_t vocabSize() const override { return model.vocabSize(); }
    int64_t pageSize() const override { return model.pageSize(); }
    int64_t pageCount() const override { return model.pageCount(); }
    int64_t maxStepTokens() const override { return model.maxStepTokens(); }
    int64_t preferredChunk() const override { return model.preferredChunk(); }
    void zeroPages(std::span<const int32_t> pages) override { model.zeroPages(pages); }
    void step(const StepBatch &batch, std::span<float> logits) override {
      if (steps-- == 0)
        throw Error("no more steps");
      model.step(batch, logits);
    }
    LanguageModel &model;
    int steps = 3;
  };
  Opened opened;
  Failing model(opened.model());
  Conversation conversation(model);
  GenerationLimits limits;
  limits.chunk = 4;
  limits.maxTokens = 2;
  std::vector<int64_t> prompt(20, 7);
  auto go = [](int64_t) { return Next::Continue; };
  EXPECT_THROW(conversation.generate(prompt, limits, greedy, go), Error);
  EXPECT_EQ(conversation.ids().size(), 12u);
  model.steps = 100;
  Generation result = conversation.generate(prompt, limits, greedy, go);
  EXPECT_EQ(result.cachedTokens, 12);
  EXPECT_EQ(result.ids, expectedIds(prompt, 2));
}

/// Several requests of different lengths in one step, in buckets and beyond them.
TEST(ProgramModel, BatchesRequests) {
  for (size_t count : {1, 2, 3, 4, 5, 6}) {
    Opened opened;
    LanguageModel &model = opened.model();
    KvCache cache(model.pageSize(), model.pageCount());
    std::vector<std::vector<int64_t>> contexts;
    std::vector<int64_t> sequences;
    for (size_t i = 0; i < count; ++i) {
      sequences.push_back(cache.addSequence());
      contexts.emplace_back();
    }
    // Step 0 has one or two tokens a request, the others one.
    for (int step = 0; step < 6; ++step) {
      std::vector<int64_t> ids, slots;
      std::vector<int32_t> positions, starts = {0}, lengths, table;
      size_t width = 2;
      for (size_t i = 0; i < count; ++i) {
        size_t fresh = step == 0 && i < 2 ? i + 1 : 1;
        for (size_t t = 0; t < fresh; ++t) {
          positions.push_back(int32_t(contexts[i].size()));
          ids.push_back(int64_t(3 * i + t + size_t(step)) % 16);
          contexts[i].push_back(ids.back());
        }
        model.zeroPages(cache.grow(sequences[i], int64_t(contexts[i].size())));
        for (size_t t = fresh; t > 0; --t)
          slots.push_back(cache.slot(sequences[i], int64_t(contexts[i].size() - t)));
        starts.push_back(int32_t(ids.size()));
        lengths.push_back(int32_t(contexts[i].size()));
        for (size_t page = 0; page < width; ++page) {
          auto pages = cache.pages(sequences[i]);
          table.push_back(pages[std::min(page, pages.size() - 1)]);
        }
      }
      std::vector<float> logits(count * 16);
      model.step({ids, positions, slots, starts, lengths, table, int64_t(width)}, logits);
      for (size_t i = 0; i < count; ++i)
        EXPECT_EQ(greedy(std::span(logits).subspan(i * 16, 16)),
                  expectedIds(contexts[i], 1)[0])
            << count << " requests, step " << step << ", request " << i;
    }
  }
}

TEST(ProgramModel, RefusesStepsThatDoNotFit) {
  Opened opened;
  std::vector<int64_t> one = {0};
  std::vector<int32_t> starts = {0, 1}, length = {1}, position = {0};
  std::vector<float> logits(16), few(3);
  EXPECT_NO_THROW(
      opened.model().step({one, position, one, starts, length, position, 1}, logits));
  EXPECT_THROW(opened.model().step({one, position, one, starts, length, position, 1}, few), Error);
  EXPECT_THROW(opened.model().step({one, position, one, starts, length, position, 2}, logits),
               Error);
  EXPECT_THROW(opened.model().step({}, {}), Error);
  EXPECT_THROW(opened.model().zeroPages(std::vector<int32_t>{100000}), Error);
}

TEST(ProgramModel, SizesItsCache) {
  Opened whole;
  EXPECT_EQ(whole.model().contextLength(), 64);
  EXPECT_EQ(whole.model().pageCount(), 16);
  EXPECT_EQ(whole.model().vocabSize(), 16);
  EXPECT_EQ(whole.model().maxStepTokens(), 8);
  Opened part(languageProgram(), 9);
  EXPECT_EQ(part.model().contextLength(), 9);
  EXPECT_EQ(part.model().pageCount(), 3);
  EXPECT_THROW(Opened(languageProgram(), 65), Error);
  EXPECT_THROW(Opened(languageProgram(), -1), Error);
  // More than 4 GiB of cache is made only when asked for.
  program::ProgramT large = languageProgram(1 << 20);
  large.targets[0]->cache->page_bytes = 1 << 20;
  Opened limited(std::move(large));
  EXPECT_EQ(limited.model().pageCount(), 4096);
  EXPECT_EQ(limited.model().contextLength(), 4096 * 4);
}

TEST(ProgramModel, RefusesWhatIsNoLanguageModel) {
  EXPECT_THROW(Opened{scaleProgram()}, Error);
  program::ProgramT source = languageProgram();
  source.targets[0]->functions[0]->outputs[0]->shape[1] = expr({Sym, 0});
  EXPECT_THROW(Opened{std::move(source)}, Error);
}

TEST(ProgramModel, RunsTensors) {
  OpenOptions options;
  options.device = {"cpu", 2};
  options.purpose = Purpose::Tensors;
  std::vector<std::pair<uint64_t, uint64_t>> progress;
  options.progress = [&](uint64_t done, uint64_t total) { progress.emplace_back(done, total); };
  ModelHandle handle = openProgram(LoadedProgram::fromBytes(pack(scaleProgram()), ""), options);
  EXPECT_EQ(progress.back(), (std::pair<uint64_t, uint64_t>(16, 16)));
  EXPECT_EQ(handle.language, nullptr);
  EXPECT_EQ(handle.backend, "CPU");
  EXPECT_EQ(handle.dtype, "f32");
  TensorModel &model = *handle.tensors;
  EXPECT_EQ(model.functions(), std::vector<std::string>{"forward"});
  ASSERT_EQ(model.inputs("forward").size(), 1u);
  EXPECT_EQ(model.inputs("forward")[0].dims, std::vector<std::string>{"N"});
  float x[5] = {1, 1, 1, 1, 1};
  HostTensor input{"x", program::DType::F32, {5}, {}};
  input.data.assign(reinterpret_cast<std::byte *>(x), reinterpret_cast<std::byte *>(x + 5));
  std::vector<HostTensor> results = model.run("forward", {input});
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0].name, "y");
  const float *y = reinterpret_cast<const float *>(results[0].data.data());
  EXPECT_EQ(std::vector<float>(y, y + 5), (std::vector<float>{2, 4, 6, 8, 2}));
  input.data.pop_back();
  EXPECT_THROW(model.run("forward", {input}), Error);
  EXPECT_THROW(model.inputs("backward"), Error);
}

TEST(ProgramModel, RunRefusesStepFunctions) {
  OpenOptions options;
  options.device = {"cpu", 1};
  options.purpose = Purpose::Tensors;
  ModelHandle handle = openProgram(LoadedProgram::fromBytes(pack(languageProgram()), ""), options);
  EXPECT_EQ(handle.tensors->functions(), std::vector<std::string>{"forward"});
  try {
    handle.tensors->inputs("prefill");
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "function 'prefill' works on the KV cache of a generation; run "
                               "takes forward");
  }
}

} // namespace
