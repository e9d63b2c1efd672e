//===- CommandsTest.cpp - What the tools do ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "TestPrograms.h"
#include "runtime/Error.h"
#include "runtime/Npy.h"
#include "runtime/ProgramModel.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <sstream>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

/// A tokenizer whose ids 0 to 15 are the letters a to p.
std::string letterTokenizer() {
  nlohmann::json vocabulary;
  for (int i = 0; i < 16; ++i)
    vocabulary[std::string(1, char('a' + i))] = i;
  return nlohmann::json{
      {"model",
       {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}},
      {"decoder", {{"type", "Fuse"}}}}
      .dump();
}

program::ProgramT letterProgram() {
  program::ProgramT source = languageProgram();
  source.text->tokenizer_json = letterTokenizer();
  return source;
}

ModelHandle open(const program::ProgramT &source, Purpose purpose = Purpose::Text) {
  OpenOptions options;
  options.device = {"cpu", 1};
  options.purpose = purpose;
  return openProgram(LoadedProgram::fromBytes(pack(source), ""), options);
}

/// What a command wrote, its exit code, and the message that it threw.
struct Outcome {
  std::string out, log, error;
  int code = -1;
};

Outcome capture(const std::function<int(Streams)> &command) {
  std::ostringstream out, log;
  Outcome outcome;
  try {
    outcome.code = command({out, log});
  } catch (const Error &error) {
    outcome.error = error.what();
  }
  outcome.out = out.str();
  outcome.log = log.str();
  return outcome;
}

Outcome generateWith(const program::ProgramT &source, const GenerateRequest &request) {
  ModelHandle model = open(source);
  return capture([&](Streams streams) { return runGenerate(model, request, streams); });
}

GenerateRequest request(std::string prompt, int64_t tokens) {
  GenerateRequest result;
  result.prompt = prompt;
  result.maxTokens = tokens;
  return result;
}

TEST(GenerateCommand, StreamsTextAndSumsUp) {
  // b = 1, c = 2: (1 + 2 + 2) % 16 = 5 is f; then (8 + 3) % 16 = 11 is l; then (19 + 4) % 16.
  Outcome outcome = generateWith(letterProgram(), request("bc", 3));
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "flh\n");
  EXPECT_NE(outcome.log.find("prompt 2 tokens, "), std::string::npos);
  EXPECT_NE(outcome.log.find("generated 3 tokens, "), std::string::npos);
  EXPECT_NE(outcome.log.find("(token limit)"), std::string::npos);
}

TEST(GenerateCommand, PrintsIdsAndTakesIds) {
  GenerateRequest ids = request("", 3);
  ids.promptIds = {1, 2};
  ids.printIds = true;
  // No tokenizer is needed.
  EXPECT_EQ(generateWith(languageProgram(), ids).out, "5 11 7\n");
}

TEST(GenerateCommand, StopsAtEosUnlessToldNotTo) {
  program::ProgramT source = letterProgram();
  source.text->eos_ids = {11};
  Outcome outcome = generateWith(source, request("bc", 3));
  EXPECT_EQ(outcome.out, "f\n");
  EXPECT_NE(outcome.log.find("(stop token)"), std::string::npos);
  GenerateRequest on = request("bc", 3);
  on.ignoreEos = true;
  EXPECT_EQ(generateWith(source, on).out, "flh\n");
}

TEST(GenerateCommand, BeginsFromBosWhenThePromptIsEmpty) {
  program::ProgramT source = letterProgram();
  EXPECT_EQ(generateWith(source, request("", 1)).error,
            "the prompt is empty, and the model has no token that begins a text; give a prompt "
            "with -p");
  source.text->bos_id = 4;
  EXPECT_EQ(generateWith(source, request("", 1)).out, "f\n");
}

TEST(GenerateCommand, RepairsTextThatIsNotUtf8) {
  Outcome outcome = generateWith(letterProgram(), request("b\xff" "c", 1));
  EXPECT_EQ(outcome.log.substr(0, 50), "warning: the prompt is not valid UTF-8; wrong byte");
}

TEST(GenerateCommand, SaysWhatIsMissing) {
  EXPECT_EQ(generateWith(languageProgram(), request("a", 1)).error,
            "the model has no tokenizer (tokenizer.json)");
  GenerateRequest chat = request("a", 1);
  chat.chat = true;
  EXPECT_EQ(generateWith(letterProgram(), chat).error, "--chat: the model has no chat template");
  EXPECT_EQ(generateWith(letterProgram(), request("a", -5)).error,
            "-n -5: expected a number of tokens, or -1 for no limit");
  ModelHandle tensors = open(scaleProgram(), Purpose::Tensors);
  EXPECT_EQ(capture([&](Streams streams) {
              return runGenerate(tensors, request("a", 1), streams);
            }).error,
            "scale is no causal language model");
}

TEST(GenerateCommand, EndsBeforeAStopString) {
  GenerateRequest stopping = request("bc", 6);
  Outcome whole = generateWith(letterProgram(), stopping);
  ASSERT_EQ(whole.out, "flhppp\n");
  stopping.stopStrings = {"hx", "pp", "lhpx"};
  Outcome outcome = generateWith(letterProgram(), stopping);
  EXPECT_EQ(outcome.out, "flh\n");
  EXPECT_NE(outcome.log.find("generated 5 tokens"), std::string::npos) << outcome.log;
  EXPECT_NE(outcome.log.find("(stop string)"), std::string::npos);
  // What was held back comes in the end.
  stopping.stopStrings = {"ppx"};
  EXPECT_EQ(generateWith(letterProgram(), stopping).out, "flhppp\n");
  stopping.printIds = true;
  EXPECT_EQ(generateWith(letterProgram(), stopping).error,
            "--stop looks at text, which --ids does not make");
}

TEST(GenerateCommand, PrintsJson) {
  GenerateRequest json = request("bc", 3);
  json.json = true;
  json.logProbs = 2;
  json.sampling.seed = 5;
  Outcome outcome = generateWith(letterProgram(), json);
  nlohmann::json result = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(result["text"], "flh");
  EXPECT_EQ(result["ids"], (std::vector<int64_t>{5, 11, 7}));
  EXPECT_EQ(result["prompt_tokens"], 2);
  EXPECT_EQ(result["stop_reason"], "token limit");
  EXPECT_EQ(result["seed"], 5);
  for (const char *name : {"load_seconds", "compile_seconds", "prompt_seconds", "decode_seconds"})
    EXPECT_GE(result["timings"][name].get<double>(), 0) << name;
  EXPECT_EQ(result["timings"]["decode_steps"], 2);
  ASSERT_EQ(result["logprobs"].size(), 3u);
  const nlohmann::json &second = result["logprobs"][1];
  EXPECT_EQ(second["id"], 11);
  EXPECT_EQ(second["token"], "l");
  // One logit is 1 and 15 are 0.
  EXPECT_NEAR(second["logprob"].get<double>(), 1 - std::log(std::exp(1) + 15), 1e-6);
  ASSERT_EQ(second["best"].size(), 2u);
  EXPECT_EQ(second["best"][0]["id"], 11);
  EXPECT_EQ(second["best"][1]["token"], "a");
  EXPECT_NEAR(second["best"][1]["logprob"].get<double>(), -std::log(std::exp(1) + 15), 1e-6);
  // Without a tokenizer there are ids only.
  GenerateRequest ids = request("", 2);
  ids.promptIds = {1, 2};
  ids.printIds = ids.json = true;
  ids.logProbs = 0;
  result = nlohmann::json::parse(generateWith(languageProgram(), ids).out);
  EXPECT_EQ(result["ids"], (std::vector<int64_t>{5, 11}));
  EXPECT_FALSE(result.contains("text"));
  EXPECT_EQ(result["logprobs"][0]["best"].size(), 0u);
  EXPECT_FALSE(result["logprobs"][0].contains("token"));
  // The stop token is no part of the answer, nor are its numbers.
  program::ProgramT source = letterProgram();
  source.text->eos_ids = {11};
  result = nlohmann::json::parse(generateWith(source, json).out);
  EXPECT_EQ(result["logprobs"].size(), 1u);
  EXPECT_EQ(result["stop_reason"], "stop token");
  ids.logProbs = -1;
  EXPECT_EQ(generateWith(languageProgram(), ids).error, "--logprobs -1: expected 0 or more");
}

/// The prompt is in the penalties' window, and bias applies without a temperature.
TEST(GenerateCommand, SamplingSeesThePrompt) {
  GenerateRequest banned = request("bc", 1);
  banned.sampling.logitBias = {{5, -2.0f}};
  EXPECT_EQ(generateWith(letterProgram(), banned).out, "a\n");
  GenerateRequest penalized = request("bcf", 1);
  // 1 + 2 + 5 + 3 = 11 is l, which is not there yet; of "bcl" the next is a, which is not either.
  EXPECT_EQ(generateWith(letterProgram(), penalized).out, "l\n");
  penalized.prompt = "bln";
  // 1 + 11 + 13 + 3 = 28 is m; with m in the prompt it costs 2, and a has the largest logit.
  penalized.sampling.presencePenalty = 2;
  EXPECT_EQ(generateWith(letterProgram(), penalized).out, "m\n");
  // 12 + 0 + 13 + 3 = 28 again.
  penalized.prompt = "man";
  EXPECT_EQ(generateWith(letterProgram(), penalized).out, "b\n");
}

TEST(GenerateCommand, EndsWith130WhenCancelled) {
  std::atomic<bool> cancel{true};
  GenerateRequest cancelled = request("bc", 3);
  cancelled.cancel = &cancel;
  Outcome outcome = generateWith(letterProgram(), cancelled);
  EXPECT_EQ(outcome.code, 130);
  EXPECT_NE(outcome.log.find("(cancelled)"), std::string::npos);
}

TEST(RunCommand, WritesResults) {
  TempFolder folder;
  float x[3] = {1, 2, 3};
  int64_t shape[] = {3};
  writeNpy(folder / "x.npy", program::DType::F32, shape, std::as_bytes(std::span(x)));
  ModelHandle model = open(scaleProgram(), Purpose::Tensors);
  RunRequest run;
  run.inputs = {"x=" + (folder / "x.npy")};
  run.outputDir = folder / "a/b";
  Outcome outcome = capture([&](Streams streams) { return runTensors(model, run, streams); });
  EXPECT_EQ(outcome.error, "");
  NpyArray y = readNpy(folder / "a/b/y.npy");
  EXPECT_EQ(y.shape, std::vector<int64_t>{3});
  const float *values = reinterpret_cast<const float *>(y.data.data());
  EXPECT_EQ(std::vector<float>(values, values + 3), (std::vector<float>{2, 8, 18}));
}

TEST(RunCommand, NamesTheWrongInput) {
  TempFolder folder;
  float x[200] = {};
  int64_t two[] = {2, 3}, many[] = {200};
  writeNpy(folder / "two.npy", program::DType::F32, two, std::as_bytes(std::span(x, 6)));
  writeNpy(folder / "many.npy", program::DType::F32, many, std::as_bytes(std::span(x)));
  writeNpy(folder / "i32.npy", program::DType::I32, two, std::as_bytes(std::span(x, 6)));
  ModelHandle model = open(scaleProgram(), Purpose::Tensors);
  auto problem = [&](std::vector<std::string> inputs, std::string function = "forward") {
    RunRequest run{function, inputs, folder / "out"};
    return capture([&](Streams streams) { return runTensors(model, run, streams); }).error;
  };
  EXPECT_EQ(problem({}), "missing --input x=FILE.npy; function 'forward' takes x f32 [N]");
  EXPECT_EQ(problem({"z=a.npy"}), "--input z: function 'forward' takes x f32 [N]");
  EXPECT_EQ(problem({"x"}), "--input x: expected NAME=FILE.npy");
  EXPECT_EQ(problem({"x=a", "x=b"}), "--input x: given twice");
  EXPECT_EQ(problem({"x=" + (folder / "two.npy")}),
            "input 'x' has shape [2, 3], expected [N]");
  EXPECT_EQ(problem({"x=" + (folder / "i32.npy")}), "input 'x' is i32, expected f32");
  EXPECT_EQ(problem({"x=" + (folder / "many.npy")}),
            "input 'x' has shape [200], expected [N] with N from 1 to 100");
  EXPECT_EQ(problem({}, "g"), "no function 'g'; the model has forward");
  EXPECT_NE(problem({"x=" + (folder / "absent.npy")}).find("absent.npy"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder / "out/y.npy"));
}

/// Kernels read the embedding table without a look at the id.
TEST(RunCommand, RefusesIdsOutsideTheVocabulary) {
  TempFolder folder;
  ModelHandle model = open(languageProgram(), Purpose::Tensors);
  for (int64_t id : {int64_t(16), int64_t(-1), int64_t(1) << 40}) {
    int64_t ids[2] = {3, id}, shape[] = {1, 2};
    writeNpy(folder / "ids.npy", program::DType::I64, shape, std::as_bytes(std::span(ids)));
    RunRequest run{"forward", {"input_ids=" + (folder / "ids.npy")}, folder / "out"};
    EXPECT_EQ(capture([&](Streams streams) { return runTensors(model, run, streams); }).error,
              "input 'input_ids' holds the token id " + std::to_string(id) +
                  ", which is not in the vocabulary of 16");
  }
}

TEST(RunCommand, RefusesAFolderThatCannotBe) {
  TempFolder folder;
  float x[1] = {1};
  int64_t shape[] = {1};
  writeNpy(folder / "x.npy", program::DType::F32, shape, std::as_bytes(std::span(x)));
  ModelHandle model = open(scaleProgram(), Purpose::Tensors);
  RunRequest run{"forward", {"x=" + (folder / "x.npy")}, folder / "x.npy"};
  Outcome outcome = capture([&](Streams streams) { return runTensors(model, run, streams); });
  EXPECT_TRUE(outcome.error.starts_with("cannot create '")) << outcome.error;
}

TEST(BenchCommand, PrintsATable) {
  ModelHandle model = open(letterProgram());
  BenchRequest bench;
  bench.promptLengths = {16};
  bench.generateLengths = {4, 0};
  bench.repetitions = 2;
  Outcome outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(outcome.out.starts_with("| model "));
  EXPECT_NE(outcome.out.find("| pp16 |"), std::string::npos);
  EXPECT_NE(outcome.out.find("|  tg4 |"), std::string::npos);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 4);

  bench.format = "json";
  outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  nlohmann::json rows = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["n_prompt"], 16);
  EXPECT_EQ(rows[1]["n_gen"], 4);
  EXPECT_EQ(rows[1]["samples_ts"].size(), 2u);
  EXPECT_GT(rows[1]["avg_ts"].get<double>(), 0);

  bench.format = "csv";
  outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  EXPECT_TRUE(outcome.out.starts_with("model,model_type,dtype,"));
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 3);
}

TEST(BenchCommand, CountsTheTokensBefore) {
  ModelHandle model = open(letterProgram());
  BenchRequest bench;
  bench.promptLengths = {8};
  bench.generateLengths = {3};
  bench.depths = {0, 20};
  bench.repetitions = 2;
  bench.kernels = true;
  bench.format = "json";
  Outcome outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  ASSERT_EQ(outcome.error, "");
  nlohmann::json rows = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0]["test"], "pp8");
  EXPECT_EQ(rows[2]["test"], "pp8 @ d20");
  EXPECT_EQ(rows[3]["test"], "tg3 @ d20");
  EXPECT_EQ(rows[3]["n_depth"], 20);
  // Of the 20 tokens before nothing is counted: three steps of two launches each.
  ASSERT_EQ(rows[3]["kernels"].size(), 2u);
  EXPECT_EQ(rows[3]["kernels"][0]["function"], "decode_1");
  EXPECT_EQ(rows[3]["kernels"][0]["launches"], 1);
  EXPECT_EQ(rows[3]["kernels"][0]["samples_ns"].size(), 2u);
  EXPECT_GE(rows[3]["outside_ns"].get<double>(), 0);
  bench.format = "md";
  outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  EXPECT_NE(outcome.out.find("\ntg3 @ d20, one step:\n\n| kernel "), std::string::npos);
  EXPECT_NE(outcome.out.find("| outside of kernels "), std::string::npos);
}

TEST(BenchCommand, TimesFunctionsOnTensors) {
  ModelHandle model = open(scaleProgram(), Purpose::Any);
  BenchRequest bench;
  bench.repetitions = 2;
  bench.symbols = {{"N", 100}};
  bench.format = "json";
  Outcome outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  ASSERT_EQ(outcome.error, "");
  nlohmann::json rows = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["test"], "forward N=100");
  EXPECT_EQ(rows[0]["bytes"], 800);
  EXPECT_GT(rows[0]["gb_per_s"].get<double>(), 0);
  EXPECT_EQ(rows[0]["samples_ns"].size(), 2u);
  bench.format = "md";
  outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  EXPECT_NE(outcome.out.find("| forward N=100 |"), std::string::npos) << outcome.out;
  bench.symbols = {{"Q", 1}};
  outcome = capture([&](Streams streams) { return runBench(model, bench, streams); });
  EXPECT_EQ(outcome.error, "--symbol Q: the functions have N");
}

TEST(BenchCommand, RefusesWrongNumbers) {
  ModelHandle model = open(letterProgram());
  auto problem = [&](const std::function<void(BenchRequest &)> &change) {
    BenchRequest bench;
    bench.promptLengths = {4};
    bench.generateLengths = {4};
    change(bench);
    return capture([&](Streams streams) { return runBench(model, bench, streams); }).error;
  };
  EXPECT_EQ(problem([](BenchRequest &b) { b.repetitions = 0; }),
            "-r 0: expected at least one repetition");
  EXPECT_EQ(problem([](BenchRequest &b) { b.format = "xml"; }),
            "-o xml: expected md, json, jsonl or csv");
  EXPECT_EQ(problem([](BenchRequest &b) { b.rounds = 0; }), "--rounds 0: expected at least one round");
  EXPECT_EQ(problem([](BenchRequest &b) { b.promptLengths = {-1}; }),
            "-p -1: expected a number of tokens");
  EXPECT_EQ(problem([](BenchRequest &b) { b.depths = {-1}; }), "-d -1: expected a number of tokens");
  EXPECT_EQ(problem([](BenchRequest &b) { b.batches = {0}; }), "-b 0: expected at least one request");
  EXPECT_EQ(problem([](BenchRequest &b) { b.symbols = {{"T", 4}}; }),
            "--symbol is for functions on tensors; sum takes -p, -n, -d and -b");
  EXPECT_EQ(problem([](BenchRequest &b) { b.depths = {61}; }),
            "pp4 @ d61 needs a context of 65 tokens, and this one has 64; use fewer tokens or a "
            "larger --ctx-size");
  EXPECT_EQ(problem([](BenchRequest &b) { b.generateLengths = {65}; }),
            "tg65 needs a context of 65 tokens, and this one has 64; use fewer tokens or a "
            "larger --ctx-size");
}

TEST(InspectCommand, ShowsFunctionsAndMemory) {
  LoadedProgram program = LoadedProgram::fromBytes(pack(scaleProgram()), "");
  InspectRequest inspect;
  inspect.launches = true;
  inspect.symbols["N"] = 20;
  Outcome outcome = capture([&](Streams streams) { return runInspect(program, inspect, streams); });
  for (const char *expected :
       {"function forward (Plain)", "N = 20 (1 to 100)", "3 launches of 2 kernels",
        "arena 80 B in 1 slots", "launch 1", "scale"})
    EXPECT_NE(outcome.out.find(expected), std::string::npos) << expected << "\n" << outcome.out;
  inspect.json = true;
  outcome = capture([&](Streams streams) { return runInspect(program, inspect, streams); });
  nlohmann::json all = nlohmann::json::parse(outcome.out);
  const nlohmann::json &function = all["targets"][0]["functions"][0];
  EXPECT_EQ(function["launches"].size(), 3u);
  EXPECT_EQ(function["memory"]["arena_bytes"], 80);
  EXPECT_EQ(function["bytes"], 300);
  EXPECT_EQ(function["flops"], 150);
  LoadedProgram language = LoadedProgram::fromBytes(pack(letterProgram()), "");
  outcome = capture([&](Streams streams) { return runInspect(language, {}, streams); });
  EXPECT_NE(outcome.out.find("function decode_4 (Decode)"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("pages of 4 tokens and 32 B"), std::string::npos) << outcome.out;
}

TEST(TokenizeCommand, GoesThereAndBack) {
  TextMaterial material;
  material.tokenizerJson = letterTokenizer();
  EXPECT_EQ(capture([&](Streams s) { return runTokenize(material, "bad", {}, s); }).out,
            "1 0 3\n");
  TokenizeRequest json{true, true};
  EXPECT_EQ(capture([&](Streams s) { return runTokenize(material, "bad", json, s); }).out,
            "{\"ids\":[1,0,3]}\n");
  EXPECT_EQ(capture([&](Streams s) { return runDetokenize(material, "[1, 0,3]\n", {}, s); }).out,
            "bad");
  EXPECT_EQ(capture([&](Streams s) {
              return runDetokenize(material, "{\"ids\":[1,0,3]}", json, s);
            }).out,
            "{\"text\":\"bad\"}\n");
  EXPECT_EQ(capture([&](Streams s) { return runDetokenize(material, "99", {}, s); }).error,
            "token id 99 is not in the vocabulary of 16");
  EXPECT_EQ(capture([&](Streams s) { return runTokenize({}, "a", {}, s); }).error,
            "the model has no tokenizer (tokenizer.json)");
}

TEST(TokenizeCommand, TakesBatches) {
  TextMaterial material;
  material.tokenizerJson = letterTokenizer();
  TokenizeRequest batch;
  batch.batch = true;
  auto tokenize = [&](const char *input) {
    return capture([&](Streams s) { return runTokenize(material, input, batch, s); });
  };
  auto detokenize = [&](const char *input) {
    return capture([&](Streams s) { return runDetokenize(material, input, batch, s); });
  };
  EXPECT_EQ(tokenize(R"(["bad", "", ["a", "b"]])").out, "[\n[1,0,3],\n[],\n[0,1]\n]\n");
  EXPECT_EQ(detokenize("[[1,0,3],[]]").out, "[\n\"bad\",\n\"\"\n]\n");
  EXPECT_EQ(tokenize("{").error, "--batch: expected a JSON list of texts");
  EXPECT_EQ(tokenize("[1]").error, "--batch: item 0 is neither a text nor a pair of texts");
  EXPECT_EQ(detokenize("[[1],2]").error, "--batch: item 1 is no list of ids");
  batch.typeIds = true;
  EXPECT_EQ(tokenize(R"([["a", "b"]])").out, "[\n{\"ids\":[0,1],\"type_ids\":[0,1]}\n]\n");
  batch.plain = true;
  EXPECT_EQ(tokenize(R"([["a", "b"]])").error, "--plain: pairs of texts are not supported");
}

TEST(ParseIds, ReadsListsAndJson) {
  EXPECT_EQ(parseIds(" 1 2,3\n"), (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(parseIds("[1, -2]"), (std::vector<int64_t>{1, -2}));
  EXPECT_EQ(parseIds(" {\"ids\": [7]}"), std::vector<int64_t>{7});
  EXPECT_EQ(parseIds(""), std::vector<int64_t>{});
  for (const char *text : {"1 x", "1.5", "{\"ids\": 1}", "{\"ids\": [\"a\"]}", "{", "99999999999999999999"})
    EXPECT_THROW(parseIds(text), Error) << text;
}

TEST(DevicesCommand, ListsTheCpu) {
  Outcome outcome = capture([](Streams streams) { return runDevices(true, streams); });
  nlohmann::json list = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(list[0]["name"], "cpu");
  EXPECT_EQ(list[0]["available"], true);
  EXPECT_NE(capture([](Streams s) { return runDevices(false, s); }).out.find("cpu ("),
            std::string::npos);
}

} // namespace
