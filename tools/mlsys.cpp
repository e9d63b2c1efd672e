//===- mlsys.cpp - Compiles and runs models ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "SharedCommands.h"

#include "mlsys/Driver/Compiler.h"
#include "mlsys/Driver/Tune.h"

#include "runtime/AtomicFile.h"
#include "runtime/CudaDevice.h"

#include <filesystem>

using namespace mlsys;
using namespace mlsys::tools;

/// The value of an Expected, or its error thrown.
template <typename T> static T orThrow(llvm::Expected<T> value) {
  if (!value)
    throw rt::Error("{}", llvm::toString(value.takeError()));
  return std::move(*value);
}

static bool isCompiled(const std::string &model) { return model.ends_with(".mlsys"); }

//===----------------------------------------------------------------------===//
// Compiling
//===----------------------------------------------------------------------===//

static std::optional<program::DType> parseDtype(const std::string &name) {
  if (name == "f32")
    return program::DType::F32;
  if (name == "bf16")
    return program::DType::BF16;
  if (name == "f16")
    return program::DType::F16;
  return std::nullopt;
}

static CompileRequest makeRequest(const ModelFlags &flags) {
  CompileRequest request;
  request.model = flags.model;
  request.dtype = parseDtype(flags.dtype);
  request.kvType = flags.kvType;
  request.randomWeights = flags.randomWeights;
  request.tiles = flags.tiles == "none" ? "" : flags.tiles;
  if (!flags.targets.empty()) {
    request.targets.clear();
    for (const std::string &target : flags.targets)
      request.targets.push_back(orThrow(CompileTarget::parse(target)));
  }
  return request;
}

/// Shows the stages of `request` as they begin.
static void showProgress(CompileRequest &request, rt::Progress &progress) {
  uint64_t total = request.countSteps();
  request.progress = [&progress, total, done = uint64_t(0)](const std::string &) mutable {
    progress.update(std::min(done++, total), total);
  };
}

static CompiledModel compile(CompileRequest request) {
  rt::Progress progress("compiling");
  showProgress(request, progress);
  CompiledModel model = orThrow(compileModel(request));
  for (const std::string &warning : model.warnings)
    std::cerr << "warning: " << warning << "\n";
  return model;
}

static rt::LoadedProgram compileInMemory(const CompileRequest &request) {
  CompiledModel model = compile(request);
  return rt::LoadedProgram::fromBytes(packProgram(*model.program), ".");
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

static rt::ModelHandle open(const ModelFlags &flags, rt::Purpose purpose) {
  if (isCompiled(flags.model)) {
    if (flags.device.device == "reference")
      throw rt::Error("--device reference runs the graph, which '{}' no longer has; give the model "
                      "that it was compiled from",
                      flags.model);
    if (flags.randomWeights)
      throw rt::Error("'{}' is compiled already; --random-weights is for models", flags.model);
    if (flags.kvType != "auto")
      throw rt::Error("'{}' is compiled already; --kv-type is for models", flags.model);
    return openCompiled(flags, rt::LoadedProgram::fromFile(flags.model), purpose);
  }
  std::optional<rt::Progress> compiling("compiling"), loading;
  CompileRequest request = makeRequest(flags);
  showProgress(request, *compiling);
  rt::OpenOptions options;
  options.device = flags.device;
  options.purpose = purpose;
  options.contextTokens = flags.contextTokens;
  options.progress = [&](uint64_t done, uint64_t total) {
    compiling.reset();
    if (!loading)
      loading.emplace("loading weights");
    loading->update(done, total);
  };
  OpenedModel model = orThrow(openModel(std::move(request), options));
  compiling.reset();
  loading.reset();
  for (const std::string &warning : model.warnings)
    std::cerr << "warning: " << warning << "\n";
  return std::move(model.handle);
}

static rt::TextMaterial openText(const ModelFlags &flags) {
  return isCompiled(flags.model) ? openCompiledText(flags) : orThrow(loadTextMaterial(flags.model));
}

static rt::LoadedProgram openProgram(const ModelFlags &flags) {
  if (!isCompiled(flags.model))
    return compileInMemory(makeRequest(flags));
  if (!flags.targets.empty() || flags.dtype != "auto")
    throw rt::Error("'{}' is compiled already; --target and --dtype are for models", flags.model);
  return rt::LoadedProgram::fromFile(flags.model);
}

//===----------------------------------------------------------------------===//
// mlsys compile
//===----------------------------------------------------------------------===//

namespace {
/// What `compile` takes besides the model.
struct CompileFlags {
  ModelFlags model;
  std::string output, stopAfter, dumpDir;
  bool appendWeights = false;
  std::vector<int64_t> decodeBuckets;
  int64_t prefillChunk = 512;
};
} // namespace

static void addDecodeBuckets(CLI::App &app, std::vector<int64_t> &buckets) {
  app.add_option("--decode-buckets", buckets, "Numbers of requests that decode is compiled for")
      ->delimiter(',')
      ->check(CLI::Range(int64_t(1), int64_t(1024)));
}

static void addCompile(CLI::App &app, CompileFlags &flags) {
  addModel(app, flags.model, "A Hugging Face folder, a .gguf file, or IR at any stage (.mlir)");
  app.add_option("-o,--output", flags.output, "The .mlsys file, or the IR of --stop-after");
  addTargets(app, flags.model);
  addDtype(app, flags.model);
  addKvType(app, flags.model);
  addTiles(app, flags.model);
  std::vector<std::string> names;
  for (Stage stage : allStages())
    names.push_back(stringifyStage(stage).str());
  app.add_option("--stop-after", flags.stopAfter,
                 "Write the IR after a stage: " + CLI::detail::join(names, ", "))
      ->check(CLI::IsMember(names));
  app.add_option("--dump-dir", flags.dumpDir, "Write the IR after every stage into this folder");
  app.add_flag("--append-weights", flags.appendWeights,
               "Put the weights into the .mlsys file, so that it is all that is needed");
  app.add_flag("--random-weights", flags.model.randomWeights,
               "Random numbers for weights: only the configuration is needed");
  addDecodeBuckets(app, flags.decodeBuckets);
  app.add_option("--prefill-chunk", flags.prefillChunk,
                 "The most tokens of a prompt in one step, and what kernels for prompts are planned for (512); 2048 "
                 "fills a large GPU better")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
}

static int runCompile(const CompileFlags &flags) {
  CompileRequest request = makeRequest(flags.model);
  request.dumpDir = flags.dumpDir;
  if (!flags.decodeBuckets.empty())
    request.decodeBuckets = flags.decodeBuckets;
  request.prefillChunk = flags.prefillChunk;
  if (isCompiled(request.model))
    throw rt::Error("'{}' is compiled already", request.model);
  if (flags.stopAfter.empty()) {
    if (flags.output.empty())
      throw rt::Error("compile writes a file: name it with -o MODEL.mlsys");
    CompiledModel model = compile(std::move(request));
    if (llvm::Error error = writeProgramFile(std::move(model), flags.output, flags.appendWeights))
      throw rt::Error("{}", llvm::toString(std::move(error)));
    return 0;
  }
  std::string text;
  {
    rt::Progress progress("compiling");
    showProgress(request, progress);
    text = orThrow(compileToStage(request, *symbolizeStage(flags.stopAfter)));
  }
  if (flags.output.empty() || flags.output == "-") {
    std::cout << text;
    return 0;
  }
  rt::AtomicFile file(flags.output);
  file.write(text);
  file.commit();
  return 0;
}

//===----------------------------------------------------------------------===//
// mlsys tune
//===----------------------------------------------------------------------===//

namespace {
/// What `tune` takes besides the model.
struct TuneFlags {
  ModelFlags model;
  std::string output;
  int rounds = 1, repetitions = 3;
  std::vector<int64_t> decodeBuckets;
};
} // namespace

static void addTune(CLI::App &app, TuneFlags &flags) {
  addModel(app, flags.model, "A Hugging Face folder, a .gguf file, or IR (.mlir)");
  app.add_option("-o,--output", flags.output,
                 "The table of tile sizes; what it has for other shapes stays. Default: the file that "
                 "--tiles auto reads");
  flags.model.device.device = "cpu";
  addDevice(app, flags.model, {"cpu", "cuda", "host-cuda"});
  addKvType(app, flags.model);
  app.add_flag("--random-weights", flags.model.randomWeights,
               "Random numbers for weights: only the configuration is needed");
  addDecodeBuckets(app, flags.decodeBuckets);
  app.add_option("--rounds", flags.rounds,
                 "CPU: in each, every size is varied around the best that is known; on a GPU the best tiles by model "
                 "are measured once")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app.add_option("-r,--repetitions", flags.repetitions, "Steps that are timed for each variation")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
}

static int runTune(const TuneFlags &flags) {
  if (isCompiled(flags.model.model))
    throw rt::Error("'{}' is compiled already; tune takes the model that it was made of",
                    flags.model.model);
  TuneRequest request;
  request.compile = makeRequest(flags.model);
  request.device = flags.model.device.device;
  request.threads = flags.model.device.threads;
  request.rounds = flags.rounds;
  request.repetitions = flags.repetitions;
  if (!flags.decodeBuckets.empty())
    request.compile.decodeBuckets = flags.decodeBuckets;
  request.progress = [](int round, int64_t candidate) {
    std::cerr << fmt::format("round {}, variation {}\n", round, candidate);
  };
  rt::checkCudaDevice(request.device);
  std::string output =
      flags.output.empty() ? getTilesPath(getTilesIsa(getDeviceTarget(request.device))) : flags.output;
  if (output.empty())
    throw rt::Error("there is no folder for the table; name a file with -o");
  std::optional<TileTable> known;
  if (std::filesystem::exists(output))
    known = orThrow(TileTable::read(output));
  TuneResult result = orThrow(tuneModel(request, known ? &*known : nullptr));
  for (const std::string &warning : result.warnings)
    std::cerr << "warning: " << warning << "\n";
  if (llvm::Error error = result.table.write(output))
    throw rt::Error("{}", llvm::toString(std::move(error)));
  for (const TunedShape &shape : result.shapes) {
    std::cout << fmt::format("{}\n  by rule {:8.3f} ms  {}\n", shape.shape, shape.ruleSeconds * 1e3,
                             shape.rule);
    if (shape.best != shape.rule)
      std::cout << fmt::format("  tuned   {:8.3f} ms  {}\n", shape.bestSeconds * 1e3, shape.best);
  }
  std::cout << fmt::format("a step of every phase: by rule {:.3f} ms, tuned {:.3f} ms ({:+.1f} %)\n"
                           "written to {}\n",
                           result.ruleSeconds * 1e3, result.tunedSeconds * 1e3,
                           (result.tunedSeconds / result.ruleSeconds - 1) * 100, output);
  return 0;
}

int main(int argc, char **argv) {
  CLI::App app{"Compiles models and runs them"};
  app.name("mlsys");
  app.set_version_flag("--version", std::string("mlsys ") + versionText);
  app.require_subcommand(1);
  Opener opener;
  opener.what = "A Hugging Face folder, a .gguf file, or a compiled model (.mlsys)";
  opener.devices = {"auto", "cpu", "cuda", "host-cuda", "reference"};
  opener.compiles = true;
  opener.open = open;
  opener.openText = openText;
  opener.openProgram = openProgram;
  SharedCommands commands(app, std::move(opener));

  CompileFlags flags;
  CLI::App *compileCommand = app.add_subcommand("compile", "Compile a model to a .mlsys file");
  addCompile(*compileCommand, flags);
  compileCommand->callback([&] { commands.action = [&] { return runCompile(flags); }; });
  TuneFlags tuneFlags;
  CLI::App *tuneCommand =
      app.add_subcommand("tune", "Measure tile sizes for a model on this machine's CPU or GPU");
  addTune(*tuneCommand, tuneFlags);
  tuneCommand->callback([&] { commands.action = [&] { return runTune(tuneFlags); }; });
  return parseAndRun(app, argc, argv, [&] { return commands.action(); });
}
