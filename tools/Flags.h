//===- Flags.h - Flags that mlsys and mlsys-run share -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Commands.h"
#include "runtime/Device.h"
#include "runtime/Error.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <new>
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
  int64_t contextTokens = 0;
  /// Of tools that compile: random numbers in place of weights, and targets such as
  /// "cuda:sm_90a"; none: what fits the device.
  bool randomWeights = false;
  std::vector<std::string> targets;
};

inline void addModel(CLI::App &app, ModelFlags &flags, const std::string &what) {
  app.add_option("MODEL", flags.model, what)->required();
}

inline void addDtype(CLI::App &app, ModelFlags &flags) {
  app.add_option("--dtype", flags.dtype, "Type of weights and computation")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16"}))
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

/// What `generate` takes besides the model.
struct GenerateFlags {
  rt::GenerateRequest request;
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
  app.add_option("-n,--n-predict", request.maxTokens, "Tokens to generate; -1: no limit")
      ->check(CLI::Range(int64_t(-1), int64_t(1) << 40))
      ->capture_default_str();
  app.add_option("--temp", request.sampling.temperature, "Temperature; 0: the likeliest token")
      ->capture_default_str();
  app.add_option("--top-k", request.sampling.topK, "Only the K likeliest tokens; 0: all")
      ->capture_default_str();
  app.add_option("--top-p", request.sampling.topP, "Only the likeliest tokens that make up P")
      ->capture_default_str();
  app.add_option("--min-p", request.sampling.minP,
                 "Only tokens with at least P times the probability of the likeliest")
      ->capture_default_str();
  app.add_option("-s,--seed", request.sampling.seed, "Seed of the random choices")
      ->capture_default_str();
  app.add_flag("--chat", request.chat, "Put the prompt into the model's chat template")
      ->excludes(ids);
  app.add_option("--system", request.system, "System message, with --chat");
  app.add_option("--chunk", request.chunk, "Tokens of the prompt in one step; 0: the model's choice")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--ids", request.printIds, "Print token ids instead of text");
  app.add_flag("--ignore-eos", request.ignoreEos, "Go on after tokens that end the text");
}

inline void addRun(CLI::App &app, rt::RunRequest &request) {
  app.add_option("--function", request.function, "The function to run")->capture_default_str();
  app.add_option("--input", request.inputs, "NAME=FILE.npy, once for each input")
      ->allow_extra_args(false);
  app.add_option("--output-dir", request.outputDir, "Folder for RESULT.npy")->required();
}

inline void addBench(CLI::App &app, rt::BenchRequest &request) {
  app.add_option("-p,--n-prompt", request.promptLengths, "Tokens of the prompt; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-n,--n-gen", request.generateLengths, "Tokens to generate; several by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("-r,--repetitions", request.repetitions, "Runs to average")
      ->capture_default_str();
  app.add_option("-o,--output", request.format, "md, json or csv")
      ->check(CLI::IsMember({"md", "json", "csv"}))
      ->capture_default_str();
  app.add_option("--chunk", request.chunk, "Tokens of the prompt in one step; 0: the model's choice")
      ->check(CLI::NonNegativeNumber);
}

/// What `inspect` takes besides the model.
struct InspectFlags {
  rt::InspectRequest request;
  std::vector<std::string> symbols;

  const rt::InspectRequest &finish() {
    for (const std::string &symbol : symbols) {
      size_t equals = symbol.find('=');
      std::vector<int64_t> value;
      if (equals != std::string::npos && equals > 0)
        value = rt::parseIds(symbol.substr(equals + 1));
      if (value.size() != 1 || value[0] < 0)
        throw rt::Error("--symbol {}: expected NAME=NUMBER", symbol);
      request.symbols[symbol.substr(0, equals)] = value[0];
    }
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
