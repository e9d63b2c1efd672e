//===- SharedCommands.h - Subcommands of mlsys and mlsys-run ----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Flags.h"

#include "runtime/Interrupt.h"
#include "runtime/LineReader.h"
#include "runtime/Progress.h"
#include "runtime/ProgramModel.h"

#include <functional>

#include <unistd.h>

namespace mlsys::tools {

/// How a tool opens models, and what its help says about them.
struct Opener {
  /// What MODEL may be.
  std::string what;
  /// Names for --device.
  std::vector<std::string> devices;
  /// True when the tool can compile, so that flags of compilation make sense.
  bool compiles = false;
  std::function<rt::ModelHandle(const ModelFlags &, rt::Purpose)> open;
  std::function<rt::TextMaterial(const ModelFlags &)> openText;
  std::function<rt::LoadedProgram(const ModelFlags &)> openProgram;
};

/// Opens a .mlsys file for a purpose, on a device.
inline rt::ModelHandle openCompiled(const ModelFlags &flags, rt::LoadedProgram program,
                                    rt::Purpose purpose) {
  rt::Progress progress("loading weights");
  rt::OpenOptions options;
  options.device = flags.device;
  options.purpose = purpose;
  options.contextTokens = flags.contextTokens;
  options.progress = [&](uint64_t done, uint64_t total) { progress.update(done, total); };
  rt::ModelHandle model = rt::openProgram(std::move(program), options);
  if (flags.dtype != "auto" && flags.dtype != model.dtype)
    throw rt::Error("--dtype {}: '{}' was compiled for {}; compile it again", flags.dtype,
                    flags.model, model.dtype);
  return model;
}

/// The text material of a .mlsys file.
inline rt::TextMaterial openCompiledText(const ModelFlags &flags) {
  rt::LoadedProgram program = rt::LoadedProgram::fromFile(flags.model);
  std::optional<rt::TextMaterial> material = rt::textMaterial(program.get());
  if (!material)
    throw rt::Error("'{}' has no tokenizer", flags.model);
  return *material;
}

/// generate, chat, run, bench, inspect, tokenize, detokenize and devices.
class SharedCommands {
public:
  SharedCommands(CLI::App &app, Opener openerOfTool) : app(app), opener(std::move(openerOfTool)) {
    addGenerateCommand();
    addChatCommand();
    addEmbedCommand();
    addClassifyCommand();
    addRunCommand();
    addBenchCommand();
    addInspectCommand();
    addTextCommands();
    addDevicesCommand();
  }

  /// What the given subcommand does; also set by a tool's own subcommands.
  std::function<int()> action;

private:
  enum class Runs { No, Yes };

  CLI::App *subcommand(const char *name, const char *description, Runs runs) {
    CLI::App *command = app.add_subcommand(name, description);
    addModel(*command, model, opener.what);
    if (runs == Runs::Yes)
      addDevice(*command, model, opener.devices);
    return command;
  }

  /// What there is to say about the KV cache: its size, and its type when it is compiled.
  void addCacheFlags(CLI::App &command) {
    addContext(command, model);
    if (opener.compiles)
      addKvType(command, model);
  }

  void addGenerateCommand() {
    CLI::App *command = subcommand("generate", "Write text that follows a prompt", Runs::Yes);
    addCacheFlags(*command);
    addGenerate(*command, generate);
    command->callback([this] {
      action = [this] {
        rt::GenerateRequest request = generate.finish();
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Text);
        request.cancel = &rt::catchInterrupt();
        return rt::runGenerate(handle, request, standardStreams());
      };
    });
  }

  void addChatCommand() {
    CLI::App *command = subcommand("chat", "Hold a conversation, one message a line", Runs::Yes);
    addCacheFlags(*command);
    addChat(*command, chat);
    command->callback([this] {
      action = [this] {
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Text);
        rt::ChatRequest request = chat.finish(handle.text);
        request.interactive = isatty(STDIN_FILENO);
        rt::Interrupts &interrupts = rt::Interrupts::watch();
        rt::LineReader input(STDIN_FILENO, &interrupts);
        return rt::runChat(handle, request, input, &interrupts, standardStreams());
      };
    });
  }

  void addEmbedCommand() {
    CLI::App *command = subcommand("embed", "Turn texts into vectors", Runs::Yes);
    addEmbed(*command, embed, embedTexts);
    command->callback([this] {
      action = [this] {
        embed.texts = embedTexts.finish();
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Text);
        return rt::runEmbed(handle, embed, standardStreams());
      };
    });
  }

  void addClassifyCommand() {
    CLI::App *command = subcommand("classify", "Score texts with a classifier or reward model", Runs::Yes);
    addTexts(*command, classifyTexts);
    command->add_flag("--json", classify.json, "Print JSON");
    command->callback([this] {
      action = [this] {
        classify.texts = classifyTexts.finish();
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Text);
        return rt::runClassify(handle, classify, standardStreams());
      };
    });
  }

  void addRunCommand() {
    CLI::App *command = subcommand("run", "Run a function on tensors (.npy)", Runs::Yes);
    addRun(*command, run);
    command->callback([this] {
      action = [this] {
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Tensors);
        return rt::runTensors(handle, run, standardStreams());
      };
    });
  }

  void addBenchCommand() {
    CLI::App *command = subcommand("bench", "Measure the speed of a model or of functions", Runs::Yes);
    addCacheFlags(*command);
    addBench(*command, bench);
    if (opener.compiles)
      command->add_flag("--random-weights", model.randomWeights,
                        "Random numbers for weights: only the configuration is needed");
    command->callback([this] {
      action = [this] {
        rt::BenchRequest &request = bench.finish();
        rt::ModelHandle handle = opener.open(model, rt::Purpose::Any);
        request.cancel = &rt::catchInterrupt();
        return rt::runBench(handle, request, standardStreams());
      };
    });
  }

  void addInspectCommand() {
    CLI::App *command = subcommand("inspect", "Show what a compiled model consists of", Runs::No);
    addInspect(*command, inspect);
    if (opener.compiles) {
      addDtype(*command, model);
      addTargets(*command, model);
    }
    command->callback([this] {
      action = [this] {
        return rt::runInspect(opener.openProgram(model), inspect.finish(), standardStreams());
      };
    });
  }

  void addTextCommands() {
    CLI::App *command = subcommand("tokenize", "Text on standard input to ids", Runs::No);
    addTokenize(*command, tokenize);
    addTokenizeOnly(*command, tokenize);
    command->callback([this] {
      action = [this] {
        return rt::runTokenize(openText(), readStandardInput(), tokenize, standardStreams());
      };
    });
    command = subcommand("detokenize", "Ids on standard input to text", Runs::No);
    addTokenize(*command, tokenize);
    command->callback([this] {
      action = [this] {
        return rt::runDetokenize(openText(), readStandardInput(), tokenize, standardStreams());
      };
    });
  }

  /// A folder with a tokenizer.json need not hold a model.
  rt::TextMaterial openText() const {
    std::optional<rt::TextMaterial> material = rt::readTokenizerFolder(model.model);
    return material ? *material : opener.openText(model);
  }

  void addDevicesCommand() {
    CLI::App *command = app.add_subcommand("devices", "List what there is to run on");
    command->add_flag("--json", devicesJson, "Print JSON");
    command->callback([this] {
      action = [this] { return rt::runDevices(devicesJson, standardStreams()); };
    });
  }

  CLI::App &app;
  Opener opener;
  ModelFlags model;
  GenerateFlags generate;
  ChatFlags chat;
  rt::EmbedRequest embed;
  rt::ClassifyRequest classify;
  TextFlags embedTexts, classifyTexts;
  rt::RunRequest run;
  BenchFlags bench;
  InspectFlags inspect;
  rt::TokenizeRequest tokenize;
  bool devicesJson = false;
};

} // namespace mlsys::tools
