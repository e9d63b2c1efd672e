//===- TuneBoundary.cpp - Measures tile sizes -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/Driver/Tune.h"

#include "mlsys/CodeGen/CudaTarget.h"

#include "runtime/CudaDevice.h"
#include "runtime/Error.h"
#include "runtime/LaunchProfile.h"
#include "runtime/LanguageModel.h"
#include "runtime/Program.h"
#include "runtime/TensorModel.h"
#include "runtime/ThreadPool.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <random>

using namespace mlsys;
using Clock = std::chrono::steady_clock;

/// By how much other sizes must be faster to be taken.
static constexpr double leastGain = 0.02;
/// How many of the best tiles by the model are measured on a GPU.
static constexpr int64_t maxGpuCandidates = 8;
/// Tokens of a request before a decode step.
static constexpr int64_t decodeContext = 32;
/// Tokens of a request of an encoder.
static constexpr int64_t encoderTokens = 128;

namespace {

/// A step of `requests` requests with `tokens` new tokens each, after `before` others.
class Step {
public:
  Step(const rt::LanguageModel &model, int64_t requests, int64_t tokens, int64_t before) {
    std::mt19937_64 random(requests * tokens);
    std::uniform_int_distribution<int64_t> anyId(0, model.idLimit() - 1);
    pages = (before + tokens + model.pageSize() - 1) / model.pageSize();
    starts.push_back(0);
    for (int64_t request = 0; request < requests; ++request) {
      for (int64_t token = before; token < before + tokens; ++token) {
        ids.push_back(anyId(random));
        positions.push_back(static_cast<int32_t>(token));
        slots.push_back(request * pages * model.pageSize() + token);
      }
      for (int64_t page = 0; page < pages; ++page)
        blockTable.push_back(static_cast<int32_t>(request * pages + page));
      starts.push_back(static_cast<int32_t>(ids.size()));
      lengths.push_back(static_cast<int32_t>(before + tokens));
    }
    rows.resize(model.rows(requests * tokens, requests) * model.vocabSize());
  }

  bool fits(const rt::LanguageModel &model) const {
    return static_cast<int64_t>(blockTable.size()) <= model.pageCount() &&
           static_cast<int64_t>(ids.size()) <= model.maxStepTokens();
  }

  void run(rt::LanguageModel &model) {
    rt::StepBatch batch{ids, positions, slots, starts, lengths, blockTable, pages};
    model.step(batch, rows);
  }

  std::vector<int32_t> blockTable;

private:
  int64_t pages;
  std::vector<int64_t> ids, slots;
  std::vector<int32_t> positions, starts, lengths;
  std::vector<float> rows;
};

/// A compiled model and one step of each of its phases.
class Workload {
public:
  Workload(rt::ModelHandle opened, llvm::ArrayRef<int64_t> decodeBuckets);

  /// Runs every step once.
  void run();
  void setProfile(rt::LaunchProfile *profile);

private:
  rt::ModelHandle model;
  std::vector<Step> steps;
  std::vector<rt::ResidentCall> calls;
};

/// The least seconds of the launches of each kernel, and how many there are in all steps.
struct Measurement {
  struct Kernel {
    std::string shape, tiles;
    double seconds = std::numeric_limits<double>::infinity();
    int64_t launches = 0;
  };
  std::map<std::string, Kernel> kernels;

  /// Seconds of all launches with a shape, and its tiles.
  std::map<std::string, std::pair<std::string, double>> byShape() const;
};

class Tuner {
public:
  Tuner(const TuneRequest &request, const TileTable *known)
      : request(request), target(getDeviceTarget(request.device)) {
    result.table.isa = getTilesIsa(target);
    if (known && known->isa == result.table.isa)
      result.table.tiles = known->tiles;
    if (onGpu())
      result.table.threads = CudaTarget::get(target.variant).multiprocessors;
    else
      result.table.threads = request.threads ? request.threads : rt::CpuTopology::detect().defaultThreads();
  }

  llvm::Expected<TuneResult> run();

private:
  bool onGpu() const { return target.device == "cuda"; }
  llvm::Expected<std::unique_ptr<Workload>> open(bool useTable, int64_t candidate);
  Measurement measure(Workload &workload);
  llvm::Error runRound(int round);
  llvm::Error compare();

  const TuneRequest &request;
  CompileTarget target;
  TuneResult result;
  /// Of the sizes by rule, by shape.
  std::map<std::string, std::pair<std::string, double>> byRule;
  std::map<std::string, std::pair<std::string, double>> best;
};

} // namespace

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

Workload::Workload(rt::ModelHandle opened, llvm::ArrayRef<int64_t> decodeBuckets)
    : model(std::move(opened)) {
  if (!model.language) {
    for (const std::string &function : model.tensors->functions())
      calls.push_back(model.tensors->makeResident(function, {}));
    return;
  }
  rt::LanguageModel &language = *model.language;
  auto add = [&](int64_t requests, int64_t tokens, int64_t before) {
    Step step(language, requests, tokens, before);
    if (!step.fits(language))
      return;
    language.zeroPages(step.blockTable);
    steps.push_back(std::move(step));
  };
  int64_t most = std::min(language.preferredChunk(), language.contextLength());
  if (language.bidirectional()) {
    int64_t tokens = std::min(encoderTokens, most);
    add(std::max<int64_t>(1, most / tokens), tokens, 0);
    return;
  }
  add(1, most, 0);
  int64_t before = std::min(decodeContext, language.contextLength() - 1);
  for (int64_t bucket : decodeBuckets)
    add(bucket, 1, before);
}

void Workload::run() {
  for (Step &step : steps)
    step.run(*model.language);
  for (rt::ResidentCall &call : calls)
    call.run();
}

void Workload::setProfile(rt::LaunchProfile *profile) {
  if (model.language)
    model.language->setProfile(profile);
  else
    model.tensors->setProfile(profile);
}

//===----------------------------------------------------------------------===//
// Measurements
//===----------------------------------------------------------------------===//

std::map<std::string, std::pair<std::string, double>> Measurement::byShape() const {
  std::map<std::string, std::pair<std::string, double>> result;
  for (const auto &[name, kernel] : kernels) {
    auto &[tiles, seconds] = result[kernel.shape];
    tiles = kernel.tiles;
    seconds += kernel.seconds * static_cast<double>(kernel.launches);
  }
  return result;
}

Measurement Tuner::measure(Workload &workload) {
  Measurement measurement;
  workload.run();
  for (int repetition = 0; repetition < request.repetitions; ++repetition) {
    rt::LaunchProfile profile;
    workload.setProfile(&profile);
    workload.run();
    workload.setProfile(nullptr);
    for (const rt::LaunchProfile::Record &record : profile.records) {
      auto [shape, tiles] = llvm::StringRef(rt::text(record.kernel->tiles())).split(": ");
      if (tiles.empty())
        continue;
      Measurement::Kernel &kernel = measurement.kernels[record.kernel->name()->str()];
      kernel.shape = shape.str();
      kernel.tiles = tiles.str();
      kernel.seconds = std::min(kernel.seconds, record.seconds);
      kernel.launches += repetition == 0;
    }
  }
  return measurement;
}

llvm::Expected<std::unique_ptr<Workload>> Tuner::open(bool useTable, int64_t candidate) {
  CompileRequest compile = request.compile;
  compile.targets = {target};
  compile.candidate = candidate;
  compile.tiles.clear();
  llvm::SmallString<128> path;
  if (useTable && !result.table.tiles.empty()) {
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("mlsys-tiles", "json", path))
      return llvm::createStringError("cannot make a temporary file: " + error.message());
    if (llvm::Error error = result.table.write(path))
      return std::move(error);
    compile.tiles = std::string(path);
  }
  llvm::Expected<CompiledModel> compiled = compileModel(compile);
  if (!path.empty())
    llvm::sys::fs::remove(path);
  if (!compiled)
    return compiled.takeError();
  rt::OpenOptions options;
  options.device = {request.device, request.threads};
  options.purpose = rt::Purpose::Any;
  rt::LoadedProgram program = rt::LoadedProgram::fromBytes(packProgram(*compiled->program), ".");
  return std::make_unique<Workload>(rt::openProgram(std::move(program), options),
                                    compile.decodeBuckets);
}

/// CPU: variations around the best known sizes. CUDA: the best tiles by the model. All shapes take their next one
/// at the same time; there is none left when every shape has the sizes that it began with.
llvm::Error Tuner::runRound(int round) {
  std::map<std::string, std::pair<std::string, double>> base;
  for (int64_t candidate = 0; !onGpu() || candidate <= maxGpuCandidates; ++candidate) {
    if (request.progress)
      request.progress(round, candidate + 1);
    std::map<std::string, std::pair<std::string, double>> measured;
    try {
      llvm::Expected<std::unique_ptr<Workload>> workload = open(/*useTable=*/true, candidate);
      if (!workload)
        return workload.takeError();
      measured = measure(**workload).byShape();
    } catch (const rt::Error &error) {
      // Such as tiles that NVRTC finds no registers for.
      if (!onGpu() || candidate <= 1)
        throw;
      result.warnings.push_back("variation " + std::to_string(candidate + 1) + " is left out: " + error.what());
      continue;
    }
    if (candidate == 0)
      base = measured;
    if (best.empty())
      best = measured;
    bool varied = llvm::any_of(measured, [&](auto &one) { return one.second.first != base[one.first].first; });
    // On a GPU the first is what the model takes.
    if (candidate > (onGpu() ? 1 : 0) && !varied)
      break;
    for (auto &[shape, choice] : measured) {
      auto &[tiles, seconds] = best[shape];
      if (choice.first == tiles)
        seconds = std::min(seconds, choice.second);
      else if (choice.second < seconds * (1 - leastGain))
        best[shape] = choice;
    }
  }
  for (auto &[shape, choice] : best)
    result.table.tiles[shape] = choice.first;
  return llvm::Error::success();
}

/// The median seconds of whole steps of `workloads`, run in turns.
static std::vector<double> timeInTurns(llvm::ArrayRef<Workload *> workloads, int repetitions) {
  std::vector<std::vector<double>> seconds(workloads.size());
  // The first run warms caches and memory up.
  for (int repetition = 0; repetition <= repetitions; ++repetition)
    for (size_t which = 0; which < workloads.size(); ++which) {
      auto start = Clock::now();
      workloads[which]->run();
      if (repetition > 0)
        seconds[which].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  std::vector<double> medians;
  for (std::vector<double> &values : seconds) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    medians.push_back(values[values.size() / 2]);
  }
  return medians;
}

/// Whole steps by rule and with the table: in turns, but one after the other on a GPU, whose memory may not hold two
/// models.
llvm::Error Tuner::compare() {
  int repetitions = std::max(5, request.repetitions);
  llvm::Expected<std::unique_ptr<Workload>> rule = open(/*useTable=*/false, 0);
  if (!rule)
    return rule.takeError();
  byRule = measure(**rule).byShape();
  if (onGpu()) {
    result.ruleSeconds = timeInTurns({rule->get()}, repetitions)[0];
    rule->reset();
  }
  llvm::Expected<std::unique_ptr<Workload>> tuned = open(/*useTable=*/true, 0);
  if (!tuned)
    return tuned.takeError();
  if (onGpu()) {
    result.tunedSeconds = timeInTurns({tuned->get()}, repetitions)[0];
    return llvm::Error::success();
  }
  std::vector<double> seconds = timeInTurns({rule->get(), tuned->get()}, repetitions);
  result.ruleSeconds = seconds[0];
  result.tunedSeconds = seconds[1];
  return llvm::Error::success();
}

llvm::Expected<TuneResult> Tuner::run() {
  for (int round = 1; round <= (onGpu() ? 1 : request.rounds); ++round)
    if (llvm::Error error = runRound(round))
      return std::move(error);
  if (llvm::Error error = compare())
    return std::move(error);
  for (const auto &[shape, choice] : best)
    result.shapes.push_back(
        {shape, byRule[shape].first, choice.first, byRule[shape].second, choice.second});
  return std::move(result);
}

llvm::Expected<TuneResult> mlsys::tuneModel(const TuneRequest &request, const TileTable *known) {
  try {
    // Before the work of compiling for it.
    rt::checkCudaDevice(request.device);
    return Tuner(request, known).run();
  } catch (const std::exception &error) {
    return llvm::createStringError(error.what());
  }
}
