//===- mlsys-run.cpp - Runs compiled models ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "Flags.h"

#include "runtime/Interrupt.h"
#include "runtime/Progress.h"
#include "runtime/ProgramModel.h"

using namespace mlsys;
using namespace mlsys::tools;

/// Opens the file and loads it for a purpose.
static rt::ModelHandle open(const ModelFlags &flags, rt::Purpose purpose) {
  rt::Progress progress("loading weights");
  rt::OpenOptions options;
  options.device = flags.device;
  options.purpose = purpose;
  options.contextTokens = flags.contextTokens;
  options.progress = [&](uint64_t done, uint64_t total) { progress.update(done, total); };
  rt::ModelHandle model = rt::openProgram(rt::LoadedProgram::fromFile(flags.model), options);
  if (flags.dtype != "auto" && flags.dtype != model.dtype)
    throw rt::Error("--dtype {}: '{}' was compiled for {}; compile it again", flags.dtype,
                    flags.model, model.dtype);
  return model;
}

static rt::TextMaterial openText(const ModelFlags &flags) {
  rt::LoadedProgram program = rt::LoadedProgram::fromFile(flags.model);
  std::optional<rt::TextMaterial> material = rt::textMaterial(program.get());
  if (!material)
    throw rt::Error("'{}' has no tokenizer", flags.model);
  return *material;
}

int main(int argc, char **argv) {
  CLI::App app{"Runs models that mlsys compiled"};
  app.name("mlsys-run");
  app.set_version_flag("--version", std::string("mlsys-run ") + versionText);
  app.require_subcommand(1);
  ModelFlags model;
  auto subcommand = [&](const char *name, const char *description, bool runs) {
    CLI::App *command = app.add_subcommand(name, description);
    addModel(*command, model, "A compiled model (.mlsys)");
    if (runs)
      addDevice(*command, model, {"auto", "cpu", "cuda", "host-cuda"});
    return command;
  };
  // Set by the subcommand that was given.
  std::function<int()> action;

  GenerateFlags generate;
  CLI::App *generateCommand = subcommand("generate", "Write text that follows a prompt", true);
  addContext(*generateCommand, model);
  addGenerate(*generateCommand, generate);
  generateCommand->callback([&] {
    action = [&] {
      rt::GenerateRequest request = generate.finish();
      rt::ModelHandle handle = open(model, rt::Purpose::Text);
      request.cancel = &rt::catchInterrupt();
      return rt::runGenerate(handle, request, standardStreams());
    };
  });

  rt::RunRequest run;
  CLI::App *runCommand = subcommand("run", "Run a function on tensors (.npy)", true);
  addRun(*runCommand, run);
  runCommand->callback([&] {
    action = [&] {
      rt::ModelHandle handle = open(model, rt::Purpose::Tensors);
      return rt::runTensors(handle, run, standardStreams());
    };
  });

  rt::BenchRequest bench;
  CLI::App *benchCommand = subcommand("bench", "Measure prompt and generation speed", true);
  addContext(*benchCommand, model);
  addBench(*benchCommand, bench);
  benchCommand->callback([&] {
    action = [&] {
      rt::checkBench(bench);
      rt::ModelHandle handle = open(model, rt::Purpose::Text);
      bench.cancel = &rt::catchInterrupt();
      return rt::runBench(handle, bench, standardStreams());
    };
  });

  InspectFlags inspect;
  CLI::App *inspectCommand = subcommand("inspect", "Show what a compiled model consists of", false);
  addInspect(*inspectCommand, inspect);
  inspectCommand->callback([&] {
    action = [&] {
      return rt::runInspect(rt::LoadedProgram::fromFile(model.model), inspect.finish(),
                            standardStreams());
    };
  });

  rt::TokenizeRequest tokenize;
  CLI::App *tokenizeCommand = subcommand("tokenize", "Text on standard input to ids", false);
  addTokenize(*tokenizeCommand, tokenize);
  tokenizeCommand->callback([&] {
    action = [&] {
      return rt::runTokenize(openText(model), readStandardInput(), tokenize, standardStreams());
    };
  });
  CLI::App *detokenizeCommand = subcommand("detokenize", "Ids on standard input to text", false);
  addTokenize(*detokenizeCommand, tokenize);
  detokenizeCommand->callback([&] {
    action = [&] {
      return rt::runDetokenize(openText(model), readStandardInput(), tokenize, standardStreams());
    };
  });

  bool devicesJson = false;
  CLI::App *devices = app.add_subcommand("devices", "List what there is to run on");
  devices->add_flag("--json", devicesJson, "Print JSON");
  devices->callback([&] {
    action = [&] { return rt::runDevices(devicesJson, standardStreams()); };
  });

  return parseAndRun(app, argc, argv, [&] { return action(); });
}
