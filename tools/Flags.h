//===- Flags.h - Flags that mlsys and mlsys-run share -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Commands.h"
#include "runtime/Device.h"
#include "runtime/Error.h"
#include "runtime/SamplerConfig.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace mlsys::tools {

inline constexpr const char *versionText = "0.1.0";

/// Which model, and what to run it on.
struct ModelFlags {
  std::string model;
  rt::DeviceOptions device;
  /// "auto", "f32", "bf16", "f16".
  std::string dtype = "auto";
  /// The same for the KV cache.
  std::string kvType = "auto";
  int64_t contextTokens = 0;
  /// Of tools that compile: random numbers in place of weights, and targets such as
  /// "cuda:sm_90a"; none: what fits the device.
  bool randomWeights = false;
  std::vector<std::string> targets;
  /// "auto", "none" or a file.
  std::string tiles = "auto";
};

inline void addModel(CLI::App &app, ModelFlags &flags, const std::string &what) {
  app.add_option("MODEL", flags.model, what)->required();
}

inline void addDtype(CLI::App &app, ModelFlags &flags) {
  app.add_option("--dtype", flags.dtype, "Type of weights and computation")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->capture_default_str();
}

inline void addKvType(CLI::App &app, ModelFlags &flags) {
  app.add_option("--kv-type", flags.kvType, "Type of keys and values in the KV cache")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
      ->capture_default_str();
}

inline void addTiles(CLI::App &app, ModelFlags &flags) {
  app.add_option("--tiles", flags.tiles,
                 "A file with tile sizes that mlsys tune has measured; auto: what it wrote for "
                 "this machine, if it did; none")
      ->capture_default_str();
}

inline void addTargets(CLI::App &app, ModelFlags &flags) {
  app.add_option("--target", flags.targets,
                 "What to compile for, several by commas: cpu, cpu:ISA, cuda, cuda:sm_NN")
      ->delimiter(',');
}

inline void addDevice(CLI::App &app, ModelFlags &flags, const std::vector<std::string> &devices) {
  std::string names = CLI::detail::join(devices, "|");
  auto check = [devices, names](std::string &value) {
    bool known = std::find(devices.begin(), devices.end(), value) != devices.end();
    // One of several GPUs.
    known |= value.starts_with("cuda:") && value.size() > 5 &&
             value.find_first_not_of("0123456789", 5) == std::string::npos;
    // What the host executor runs as if it were that GPU.
    known |= value.starts_with("host-cuda:sm_");
    return known ? std::string() : value + " is no device; expected " + names + " or cuda:N";
  };
  app.add_option("--device", flags.device.device, "What to run on: " + names + " or cuda:N")
      ->check(CLI::Validator(check, "", "device"))
      ->capture_default_str();
  app.add_option("-t,--threads", flags.device.threads, "Threads on the CPU; 0: one a core")
      ->check(CLI::Range(0, 1024));
  addDtype(app, flags);
}

inline void addContext(CLI::App &app, ModelFlags &flags) {
  app.add_option("-c,--ctx-size", flags.contextTokens,
                 "Tokens of prompt and answer together; 0: what the model allows")
      ->check(CLI::NonNegativeNumber);
}

/// How tokens are chosen; what is not given keeps its value.
struct SamplingFlags {
  std::optional<float> temperature, topP, minP, typicalP;
  std::optional<float> repeatPenalty, presencePenalty, frequencyPenalty;
  std::optional<int> topK;
  std::optional<int64_t> repeatLastN;
  std::vector<std::string> logitBias;
  std::string seed = "0";

  void applyTo(rt::SamplerOptions &options) const {
    auto set = [](auto &value, const auto &given) { value = given.value_or(value); };
    set(options.temperature, temperature);
    set(options.topK, topK);
    set(options.topP, topP);
    set(options.minP, minP);
    set(options.typicalP, typicalP);
    set(options.repeatPenalty, repeatPenalty);
    set(options.presencePenalty, presencePenalty);
    set(options.frequencyPenalty, frequencyPenalty);
    set(options.repeatLastN, repeatLastN);
    for (const std::string &text : logitBias)
      options.logitBias.push_back(rt::parseLogitBias(text));
    options.seed = seed == "-1" ? std::random_device()() : std::stoull(seed);
  }
};

inline void addSampling(CLI::App &app, SamplingFlags &flags, const std::string &group) {
  auto add = [&](const char *name, auto &value, const char *what) {
    return app.add_option(name, value, what)->group(group);
  };
  add("--temp", flags.temperature, "Temperature; 0: the likeliest token");
  add("--top-k", flags.topK, "Only the K likeliest tokens; 0: all");
  add("--top-p", flags.topP, "Only the likeliest tokens that make up P; 1: all");
  add("--min-p", flags.minP, "Only tokens with at least P times the probability of the likeliest");
  add("--typical", flags.typicalP,
      "Only the tokens that make up P with the most typical surprise; 1: all");
  add("--repeat-penalty", flags.repeatPenalty,
      "Divides the logits of tokens that were there (negative ones: multiplies); 1: nothing");
  add("--presence-penalty", flags.presencePenalty, "Subtracted from the logits of such tokens");
  add("--frequency-penalty", flags.frequencyPenalty, "The same, for each time that they were");
  add("--repeat-last-n", flags.repeatLastN,
      "Latest tokens of prompt and answer that the penalties look at; -1: all, 0: none");
  add("-l,--logit-bias", flags.logitBias,
      "ID+BIAS or ID-BIAS: added to a token's logit; ID-inf rules it out")
      ->allow_extra_args(false);
  add("-s,--seed", flags.seed, "Seed of the random choices; -1: another one each time")
      ->check([](const std::string &value) {
        uint64_t number = 0;
        return value == "-1" || CLI::detail::lexical_cast(value, number)
                   ? std::string()
                   : value + " is no seed; expected -1, 0, 1, ...";
      })
      ->capture_default_str();
}

/// How an answer ends, and how its prompt is run.
struct AnswerFlags {
  int64_t maxTokens = -1, chunk = 0;
  std::vector<std::string> stopStrings = {};
};

inline void addAnswer(CLI::App &app, AnswerFlags &flags) {
  app.add_option("-n,--n-predict", flags.maxTokens, "Tokens to generate; -1: no limit")
      ->check(CLI::Range(int64_t(-1), int64_t(1) << 40))
      ->capture_default_str();
  app.add_option("--stop", flags.stopStrings,
                 "A text that ends the answer before it; may be given several times")
      ->allow_extra_args(false);
  app.add_option("--chunk", flags.chunk,
                 "Tokens of the prompt in one step; 0: the model's choice")
      ->check(CLI::NonNegativeNumber);
}

/// What `generate` takes besides the model.
struct GenerateFlags {
  rt::GenerateRequest request;
  SamplingFlags sampling;
  AnswerFlags answer{.maxTokens = 128};
  std::string promptFile, promptIds;

  /// Reads files and ids into the request.
  const rt::GenerateRequest &finish() {
    if (!promptFile.empty()) {
      std::ifstream file(promptFile, std::ios::binary);
      if (!file)
        throw rt::Error("cannot open '{}'", promptFile);
      request.prompt.assign(std::istreambuf_iterator<char>(file), {});
    }
    if (!promptIds.empty()) {
      request.promptIds = rt::parseIds(promptIds);
      if (request.promptIds.empty())
        throw rt::Error("--prompt-ids: no ids");
    }
    sampling.applyTo(request.sampling);
    request.maxTokens = answer.maxTokens;
    request.chunk = answer.chunk;
    request.stopStrings = answer.stopStrings;
    return request;
  }
};

inline void addGenerate(CLI::App &app, GenerateFlags &flags) {
  rt::GenerateRequest &request = flags.request;
  auto *prompt = app.add_option("-p,--prompt", request.prompt, "The text to go on from");
  auto *file = app.add_option("-f,--file", flags.promptFile, "A file with the prompt");
  auto *ids = app.add_option("--prompt-ids", flags.promptIds, "The prompt as token ids, e.g. 1,2,3");
  prompt->excludes(file)->excludes(ids);
  file->excludes(ids);
  app.add_flag("--chat", request.chat, "Put the prompt into the model's chat template")
      ->excludes(ids);
  app.add_option("--system", request.system, "System message, with --chat");
  addAnswer(app, flags.answer);
  app.add_flag("--ids", request.printIds, "Print token ids instead of text");
  app.add_flag("--ignore-eos", request.ignoreEos, "Go on after tokens that end the text");
  auto *json = app.add_flag("--json", request.json,
                            "Print JSON in the end: text, ids, timings, why it stopped");
  app.add_option("--logprobs", request.logProbs,
                 "In it the log-probability of each token, and of the N likeliest in its place")
      ->check(CLI::NonNegativeNumber)
      ->needs(json);
  addSampling(app, flags.sampling, "SAMPLING");
}

/// What `chat` takes besides the model.
struct ChatFlags {
  rt::ChatRequest request;
  SamplingFlags sampling;
  AnswerFlags answer;

  /// The request to a model with this text material, whose settings hold for what is not given.
  const rt::ChatRequest &finish(const std::optional<rt::TextMaterial> &material) {
    if (material)
      request.sampling = rt::samplerConfig(material->generationConfigJson);
    sampling.applyTo(request.sampling);
    request.maxTokens = answer.maxTokens;
    request.chunk = answer.chunk;
    request.stopStrings = answer.stopStrings;
    return request;
  }
};

inline void addChat(CLI::App &app, ChatFlags &flags) {
  app.add_option("--system", flags.request.system, "System message");
  addAnswer(app, flags.answer);
  app.add_flag("--timings", flags.request.timings, "Tell what each turn took");
  addSampling(app, flags.sampling, "SAMPLING (else as the model's generation_config.json says)");
}

/// Texts from flags or from a file's lines.
struct TextFlags {
  std::vector<std::string> texts;
  std::string file;

  std::vector<std::string> finish() const {
    std::vector<std::string> result = texts;
    if (file.empty())
      return result;
    std::ifstream lines(file, std::ios::binary);
    if (!lines)
      throw rt::Error("cannot open '{}'", file);
    for (std::string line; std::getline(lines, line);)
      result.push_back(line);
    return result;
  }
};

inline void addTexts(CLI::App &app, TextFlags &flags) {
  app.add_option("-p,--prompt", flags.texts, "A text; may be given several times")
      ->allow_extra_args(false);
  app.add_option("-f,--file", flags.file, "A file with a text on each line");
}

inline void addEmbed(CLI::App &app, rt::EmbedRequest &request, TextFlags &texts) {
  addTexts(app, texts);
  app.add_option("--pooling", request.pooling,
                 "auto, mean, cls (the first token), last, or none (a vector for each token)")
      ->check(CLI::IsMember({"auto", "mean", "cls", "last", "none"}))
      ->capture_default_str();
  app.add_flag_callback("--normalize", [&request] { request.normalize = true; },
                        "Scale vectors to length 1; else as the model's files say");
  app.add_flag_callback("--no-normalize", [&request] { request.normalize = false; },
                        "Leave vectors as they are");
  app.add_flag("--json", request.json, "Print JSON");
}

inline void addRun(CLI::App &app, rt::RunRequest &request) {
  app.add_option("--function", request.function, "The function to run")->capture_default_str();
  app.add_option("--input", request.inputs, "NAME=FILE.npy, once for each input")
      ->allow_extra_args(false);
  app.add_option("--output-dir", request.outputDir, "Folder for RESULT.npy")->required();
}

/// NAME=NUMBER into `symbols`.
inline void parseSymbol(const std::string &symbol, std::map<std::string, int64_t> &symbols) {
  size_t equals = symbol.find('=');
  std::vector<int64_t> value;
  if (equals != std::string::npos && equals > 0)
    value = rt::parseIds(symbol.substr(equals + 1));
  if (value.size() != 1 || value[0] < 0)
    throw rt::Error("--symbol {}: expected NAME=NUMBER", symbol);
  symbols[symbol.substr(0, equals)] = value[0];
}

/// What `bench` takes besides the model.
struct BenchFlags {
  rt::BenchRequest request;
  std::vector<std::string> symbols;

  rt::BenchRequest &finish() {
    for (const std::string &symbol : symbols)
      parseSymbol(symbol, request.symbols);
    rt::checkBench(request);
    return request;
  }
};

inline void addBench(CLI::App &app, BenchFlags &flags) {
  rt::BenchRequest &request = flags.request;
  app.add_option("-p,--n-prompt", request.promptLengths, "Tokens of the prompt; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-n,--n-gen", request.generateLengths, "Tokens to generate; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-d,--n-depth", request.depths,
                 "Tokens that the cache holds before that; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-b,--batch-size", request.batches,
                 "Requests at once: of an encoder, of -p tokens each; of a decoder, for -n; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--symbol", flags.symbols,
                 "NAME=NUMBER, an extent of functions on tensors, in place of the typical one")
      ->allow_extra_args(false);
  app.add_flag("--kernels", request.kernels, "Time each launch and sum up by kernel");
  app.add_option("-r,--repetitions", request.repetitions, "Runs to average")
      ->capture_default_str();
  app.add_option("--rounds", request.rounds, "Times that all rows are measured, one after the other")
      ->capture_default_str();
  app.add_option("-o,--output", request.format,
                 "md, json, csv, or jsonl: a line for each row and round, as soon as it is measured")
      ->check(CLI::IsMember({"md", "json", "jsonl", "csv"}))
      ->capture_default_str();
  app.add_option("--chunk", request.chunk, "Tokens of the prompt in one step; 0: the model's choice")
      ->check(CLI::NonNegativeNumber);
}

/// What `inspect` takes besides the model.
struct InspectFlags {
  rt::InspectRequest request;
  std::vector<std::string> symbols;

  const rt::InspectRequest &finish() {
    for (const std::string &symbol : symbols)
      parseSymbol(symbol, request.symbols);
    return request;
  }
};

inline void addInspect(CLI::App &app, InspectFlags &flags) {
  app.add_flag("--json", flags.request.json, "Print JSON, with everything");
  app.add_flag("--launches", flags.request.launches, "List every launch");
  app.add_option("--symbol", flags.symbols, "NAME=NUMBER in place of the typical value")
      ->allow_extra_args(false);
}

inline void addTokenize(CLI::App &app, rt::TokenizeRequest &request) {
  app.add_flag("--json", request.json, "Print JSON");
  app.add_flag("!--no-special", request.special, "Leave special tokens such as bos out");
  app.add_flag("--batch", request.batch,
               "Standard input is a JSON list of texts (pairs of texts, lists of ids); print a "
               "JSON list, a line for each");
  app.add_flag("--timing", request.timing, "Say on standard error how fast it was");
}

/// What `tokenize` takes besides.
inline void addTokenizeOnly(CLI::App &app, rt::TokenizeRequest &request) {
  app.add_flag("--plain", request.plain,
               "Take special tokens in the text as text, and add none");
  app.add_flag("--type-ids", request.typeIds,
               "With --json or --batch: also which of two texts each id belongs to");
}

/// All of standard input.
inline std::string readStandardInput() {
  return {std::istreambuf_iterator<char>(std::cin), {}};
}

/// Standard output and error.
inline rt::Streams standardStreams() { return {std::cout, std::cerr}; }

/// Parses the command line and runs `command`; prints what it throws. Returns
/// the exit code.
template <typename Command>
int parseAndRun(CLI::App &app, int argc, char **argv, Command &&command) {
  std::vector<CLI::App *> commands = app.get_subcommands([&](const CLI::App *command) {
    return argc > 1 && command->check_name(argv[1]);
  });
  if (argc > 1 && argv[1][0] != '-' && commands.empty()) {
    std::cerr << "error: unknown command '" << argv[1] << "'; --help lists those there are\n";
    return 1;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error);
  }
  try {
    int code = command();
    std::cout.flush();
    if (!std::cout)
      throw rt::Error("cannot write to standard output");
    return code;
  } catch (const std::bad_alloc &) {
    std::cerr << "error: not enough memory\n";
  } catch (const std::exception &error) {
    std::cerr << "error: " << error.what() << "\n";
  }
  return 1;
}

} // namespace mlsys::tools
