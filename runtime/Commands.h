//===- Commands.h - What the tools do ---------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// The commands that mlsys and mlsys-run share. The tools parse flags and open
// models; what happens then is here. Results go to `out`, everything about the
// work to `log`. Every function throws rt::Error.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/ModelHandle.h"
#include "runtime/Program.h"
#include "runtime/Sampler.h"

#include <atomic>
#include <iosfwd>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// Where a command writes.
struct Streams {
  std::ostream &out;
  std::ostream &log;
};

/// `generate`: a prompt, as text or ids, and how to go on from it.
struct GenerateRequest {
  std::string prompt;
  /// When set, these are the prompt and no tokenizer is needed.
  std::vector<int64_t> promptIds;
  /// Puts the prompt into the model's chat template as the user's message.
  bool chat = false;
  /// A system message before it.
  std::string system;
  int64_t maxTokens = 128;
  SamplerOptions sampling;
  /// Tokens of the prompt in one step; 0: the model's choice.
  int64_t chunk = 0;
  /// Prints ids instead of text.
  bool printIds = false;
  /// Texts that end the answer, which goes up to the first of them.
  std::vector<std::string> stopStrings;
  /// Prints one JSON object in the end: text, ids, timings and why it ended.
  bool json = false;
  /// In it also each token's log-probability and those of this many best tokens.
  std::optional<int64_t> logProbs;
  /// Goes on after end-of-text tokens.
  bool ignoreEos = false;
  const std::atomic<bool> *cancel = nullptr;
};

/// Streams the answer and ends with a summary line. Returns the exit code.
int runGenerate(ModelHandle &model, const GenerateRequest &request, Streams streams);

/// `chat`: how to hold a conversation.
struct ChatRequest {
  /// The system message; empty: none.
  std::string system;
  /// Of each answer; -1: up to its end.
  int64_t maxTokens = -1;
  SamplerOptions sampling;
  /// Tokens of the prompt in one step; 0: the model's choice.
  int64_t chunk = 0;
  /// Texts that end an answer, which goes up to the first of them.
  std::vector<std::string> stopStrings;
  /// A person is at the other end: the log shows prompts, and an error ends only the turn.
  bool interactive = false;
  /// The log tells what each turn took.
  bool timings = false;
};

class Interrupts;
class LineReader;

/// Answers messages, one a line, until the input ends; lines that begin with / are commands. The
/// KV cache is kept from turn to turn. `interrupts` stop an answer, or the conversation at its
/// prompt; they may be null. Returns the exit code.
int runChat(ModelHandle &model, const ChatRequest &request, LineReader &input,
            Interrupts *interrupts, Streams streams);

/// `embed`: a vector for each text.
struct EmbedRequest {
  std::vector<std::string> texts;
  /// "auto" (what the model's files say, else mean for encoders and last for decoders),
  /// "mean", "cls" (the first token), "last" or "none" (a vector for each token).
  std::string pooling = "auto";
  /// Scales vectors to length 1; nothing: what the model's files say.
  std::optional<bool> normalize;
  bool json = false;
};

int runEmbed(ModelHandle &model, const EmbedRequest &request, Streams streams);

/// The mean of `rows`, [count, width], or its first ("cls") or last row, scaled to length 1 if
/// asked for.
std::vector<float> poolRows(std::span<const float> rows, size_t width, const std::string &pooling,
                            bool normalize);

/// `classify`: the scores that a classifier or reward model gives each text.
struct ClassifyRequest {
  std::vector<std::string> texts;
  bool json = false;
};

int runClassify(ModelHandle &model, const ClassifyRequest &request, Streams streams);

/// Softmax of several logits; the logistic function of one.
std::vector<double> classProbabilities(std::span<const float> logits);

/// `run`: tensors from .npy files through one function to .npy files.
struct RunRequest {
  std::string function = "forward";
  /// NAME=file.npy of each input.
  std::vector<std::string> inputs;
  std::string outputDir;
};

int runTensors(ModelHandle &model, const RunRequest &request, Streams streams);

/// `bench`: prompt and generation speed, as llama-bench shows them; of an encoder, requests; of
/// functions on tensors, their time.
struct BenchRequest {
  std::vector<int64_t> promptLengths = {512};
  std::vector<int64_t> generateLengths = {128};
  /// Tokens that the cache holds already.
  std::vector<int64_t> depths = {0};
  /// Requests in one step: of an encoder, and of a decoder that generates.
  std::vector<int64_t> batches = {1};
  /// Values of the symbols of functions on tensors in place of their hints.
  std::map<std::string, int64_t> symbols;
  /// Times each launch, and sums up by kernel.
  bool kernels = false;
  int repetitions = 5;
  /// How often all rows are measured, one after the other; each time begins with a run that is not counted.
  int rounds = 1;
  /// "md", "json", "csv", or "jsonl": each round of a row is a line, printed as soon as it is measured.
  std::string format = "md";
  int64_t chunk = 0;
  const std::atomic<bool> *cancel = nullptr;
};

/// Throws when a request's numbers make no sense, before a model is opened.
void checkBench(const BenchRequest &request);
int runBench(ModelHandle &model, const BenchRequest &request, Streams streams);

/// `inspect`: what a program consists of.
struct InspectRequest {
  bool json = false;
  /// Lists every launch.
  bool launches = false;
  /// Values of symbols in place of their hints.
  std::map<std::string, int64_t> symbols;
};

int runInspect(const LoadedProgram &program, const InspectRequest &request, Streams streams);

/// `tokenize` and `detokenize`: text to ids and back.
struct TokenizeRequest {
  bool json = false;
  /// Adds bos and the like, as the tokenizer says; keeps them when detokenizing.
  bool special = true;
  /// The input is a JSON list of texts, or of pairs of texts (of lists of ids for
  /// detokenize), and the output a JSON list with a line for each.
  bool batch = false;
  /// Special tokens in the text are text like any other, and none is added.
  bool plain = false;
  /// With JSON: which of two texts each id belongs to, as the tokenizer says.
  bool typeIds = false;
  /// Says on the log how fast it was, without reading and writing.
  bool timing = false;
};

int runTokenize(const TextMaterial &material, const std::string &input,
                const TokenizeRequest &request, Streams streams);
int runDetokenize(const TextMaterial &material, const std::string &input,
                  const TokenizeRequest &request, Streams streams);

/// `devices`: what there is to run on.
int runDevices(bool json, Streams streams);

/// Ids from text: numbers between white space, commas or brackets, or a JSON
/// object {"ids": [...]}.
std::vector<int64_t> parseIds(const std::string &text);

} // namespace mlsys::rt
