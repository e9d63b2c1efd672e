//===- BenchCommand.cpp - How fast a model runs -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/BenchReport.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Generator.h"
#include "runtime/Interrupt.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <random>
#include <set>

using namespace mlsys;
using namespace mlsys::rt;
using Clock = std::chrono::steady_clock;

/// A repetition of a function on tensors calls it until so much time has passed.
static constexpr double leastSeconds = 0.02;
/// Requests of an encoder; their results are kept.
static constexpr int64_t mostRequests = 4096;

void rt::checkBench(const BenchRequest &request) {
  if (request.repetitions < 1)
    throw Error("-r {}: expected at least one repetition", request.repetitions);
  if (request.rounds < 1)
    throw Error("--rounds {}: expected at least one round", request.rounds);
  if (request.format != "md" && request.format != "json" && request.format != "jsonl" && request.format != "csv")
    throw Error("-o {}: expected md, json, jsonl or csv", request.format);
  for (int64_t tokens : request.promptLengths)
    if (tokens < 0)
      throw Error("-p {}: expected a number of tokens", tokens);
  for (int64_t tokens : request.generateLengths)
    if (tokens < 0)
      throw Error("-n {}: expected a number of tokens", tokens);
  for (int64_t tokens : request.depths)
    if (tokens < 0)
      throw Error("-d {}: expected a number of tokens", tokens);
  for (int64_t batch : request.batches)
    if (batch < 1)
      throw Error("-b {}: expected at least one request", batch);
}

namespace {

/// Measures what lies between `start` and `stop`, by launches as well when they are wanted.
class Stopwatch {
public:
  using SetProfile = std::function<bool(LaunchProfile *)>;

  Stopwatch(SetProfile setProfile, bool kernels)
      : setProfile(std::move(setProfile)), kernels(kernels) {}

  void start() {
    launches = {};
    if (kernels && !setProfile(&launches))
      throw Error("--kernels needs a device with kernels, and this one interprets the graph");
    begin = Clock::now();
  }
  /// Seconds since `start`, which may go on.
  double elapsed() const { return std::chrono::duration<double>(Clock::now() - begin).count(); }
  double stop() {
    seconds = elapsed();
    if (kernels)
      setProfile(nullptr);
    return seconds;
  }

  /// Adds what the last measurement saw of launches.
  void addTo(BenchRow &row) const {
    if (kernels)
      row.addProfile(launches, seconds);
  }

private:
  SetProfile setProfile;
  bool kernels;
  LaunchProfile launches;
  Clock::time_point begin;
  double seconds = 0;
};

/// One row's work: does it and gives the seconds it took.
using Work = std::function<double(Stopwatch &)>;

/// Token ids from a fixed seed.
class RandomIds {
public:
  explicit RandomIds(const LanguageModel &model) : any(0, model.idLimit() - 1) {}

  std::vector<int64_t> operator()(int64_t count) {
    std::vector<int64_t> ids(static_cast<size_t>(count));
    for (int64_t &id : ids)
      id = any(engine);
    return ids;
  }

private:
  std::mt19937_64 engine{0};
  std::uniform_int_distribution<int64_t> any;
};

/// A prompt in chunks, or single tokens, after `depth` tokens in the cache.
class CausalWork {
public:
  CausalWork(LanguageModel &model, const BenchRow &row, int64_t wantedChunk)
      : row(row), random(model), cache(model.pageSize(), model.pageCount()),
        sequence(model, cache) {
    auto clamped = [&](int64_t wanted) {
      return std::clamp<int64_t>(wanted > 0 ? wanted : model.preferredChunk(), 1,
                                 model.maxStepTokens());
    };
    chunk = row.generatedTokens > 0 ? 1 : clamped(wantedChunk);
    depthChunk = clamped(wantedChunk);
  }

  double once(Stopwatch &watch) {
    // Models with a window may have to begin again.
    int64_t kept = sequence.truncate(std::min(row.depth, sequence.size()));
    push(row.depth - kept, depthChunk);
    std::vector<int64_t> ids = random(row.tokens());
    watch.start();
    if (row.generatedTokens == 0 || !loop(ids.front()))
      push(ids, chunk);
    return watch.stop();
  }

private:
  /// Single tokens that the device chooses, the host one step behind, as in a generation. False when
  /// the model has no such loop.
  bool loop(int64_t id) {
    if (!sequence.startLoop(id, {}))
      return false;
    for (int64_t started = 1, done = 0; done < row.generatedTokens; ++done) {
      while (started < row.generatedTokens && started - done < stepsAhead) {
        sequence.startStep();
        ++started;
      }
      sequence.finishStep();
    }
    sequence.endLoop();
    return true;
  }
  void push(int64_t count, int64_t step) { push(random(count), step); }
  void push(std::span<const int64_t> ids, int64_t step) {
    for (size_t done = 0; done < ids.size(); done += size_t(step))
      sequence.push(ids.subspan(done, std::min(size_t(step), ids.size() - done)));
  }

  BenchRow row;
  RandomIds random;
  KvCache cache;
  Sequence sequence;
  int64_t chunk, depthChunk;
};

/// Single tokens of several requests in each step, after `depth` tokens of each in the cache.
class BatchWork {
public:
  BatchWork(LanguageModel &model, const BenchRow &row)
      : model(model), random(model), steps(row.generatedTokens), depth(row.depth), batch(row.batch),
        pages(pagesOf(model, row)) {
    for (int64_t request = 0; request < batch; ++request) {
      starts.push_back(int32_t(request));
      for (int64_t page = 0; page < pages; ++page)
        blockTable.push_back(int32_t(request * pages + page));
    }
    starts.push_back(int32_t(batch));
    slots.resize(size_t(batch));
    rows.resize(size_t(batch * model.vocabSize()));
    model.zeroPages(blockTable);
    for (int64_t request = 0; request < batch; ++request)
      fill(request);
  }

  /// Pages of each request.
  static int64_t pagesOf(const LanguageModel &model, const BenchRow &row) {
    return (row.depth + row.generatedTokens + model.pageSize() - 1) / model.pageSize();
  }

  double once(Stopwatch &watch) {
    std::vector<int64_t> ids = random(steps * batch);
    watch.start();
    if (!loop(std::span(ids).first(size_t(batch))))
      for (int64_t i = 0; i < steps; ++i)
        model.step(stepAt(depth + i, std::span(ids).subspan(size_t(i * batch), size_t(batch))), rows);
    return watch.stop();
  }

private:
  /// The tokens of all requests at a position.
  StepBatch stepAt(int64_t position, std::span<const int64_t> ids) {
    positions.assign(size_t(batch), int32_t(position));
    lengths.assign(size_t(batch), int32_t(position + 1));
    for (int64_t request = 0; request < batch; ++request)
      slots[size_t(request)] = request * pages * model.pageSize() + position;
    return {ids, positions, slots, starts, lengths, blockTable, pages, {}};
  }

  /// As CausalWork::loop; pages for all steps are in the table from the start.
  bool loop(std::span<const int64_t> ids) {
    std::vector<DeviceSampling> how(static_cast<size_t>(batch));
    std::unique_ptr<DecodeLoop> decode = model.decode(stepAt(depth, ids), how);
    if (!decode)
      return false;
    std::vector<int64_t> chosen(static_cast<size_t>(batch));
    for (int64_t started = 1, done = 0; done < steps; ++done) {
      while (started < steps && started - done < stepsAhead) {
        decode->start({}, pages);
        ++started;
      }
      decode->finish(chosen);
    }
    return true;
  }

  /// Brings `depth` tokens of a request into the cache.
  void fill(int64_t request) {
    int64_t chunk = std::min(model.preferredChunk(), model.maxStepTokens());
    std::span<const int32_t> table = std::span(blockTable).subspan(size_t(request * pages), size_t(pages));
    for (int64_t done = 0; done < depth; done += chunk) {
      int64_t count = std::min(chunk, depth - done);
      std::vector<int64_t> ids = random(count), places;
      std::vector<int32_t> at, bounds = {0, int32_t(count)}, length = {int32_t(done + count)};
      for (int64_t i = done; i < done + count; ++i) {
        at.push_back(int32_t(i));
        places.push_back(request * pages * model.pageSize() + i);
      }
      model.step({ids, at, places, bounds, length, table, pages, {}},
                 std::span(rows).first(size_t(model.vocabSize())));
    }
  }

  LanguageModel &model;
  RandomIds random;
  int64_t steps, depth, batch, pages;
  std::vector<int32_t> positions, starts, lengths, blockTable;
  std::vector<int64_t> slots;
  std::vector<float> rows;
};

/// Requests of an encoder, of equal length, in as few steps as the model takes.
class EncoderWork {
public:
  EncoderWork(LanguageModel &model, const BenchRow &row)
      : model(model), random(model), tokens(row.promptTokens), batch(row.batch),
        pages((tokens + model.pageSize() - 1) / model.pageSize()),
        together(std::min({batch, model.maxStepTokens() / tokens, model.pageCount() / pages})) {
    starts.push_back(0);
    for (int64_t request = 0; request < together; ++request) {
      for (int64_t i = 0; i < tokens; ++i) {
        positions.push_back(int32_t(i));
        slots.push_back(request * pages * model.pageSize() + i);
      }
      for (int64_t page = 0; page < pages; ++page)
        blockTable.push_back(int32_t(request * pages + page));
      starts.push_back(int32_t((request + 1) * tokens));
      lengths.push_back(int32_t(tokens));
    }
    rows.resize(size_t(model.rows(tokens * batch, batch) * model.vocabSize()));
    model.zeroPages(blockTable);
  }

  double once(Stopwatch &watch) {
    std::vector<int64_t> ids = random(tokens * batch);
    watch.start();
    for (int64_t first = 0; first < batch; first += together)
      step(ids, first, std::min(together, batch - first));
    return watch.stop();
  }

private:
  void step(std::span<const int64_t> ids, int64_t first, int64_t count) {
    size_t width = size_t(count * tokens);
    int64_t before = model.rows(first * tokens, first) * model.vocabSize();
    int64_t mine = model.rows(count * tokens, count) * model.vocabSize();
    model.step({ids.subspan(size_t(first * tokens), width), std::span(positions).first(width),
                std::span(slots).first(width), std::span(starts).first(size_t(count) + 1),
                std::span(lengths).first(size_t(count)),
                std::span(blockTable).first(size_t(count * pages)), pages, {}},
               std::span(rows).subspan(size_t(before), size_t(mine)));
  }

  LanguageModel &model;
  RandomIds random;
  int64_t tokens, batch, pages, together;
  std::vector<int32_t> positions, starts, lengths, blockTable;
  std::vector<int64_t> slots;
  std::vector<float> rows;
};

} // namespace

static std::vector<BenchRow> causalRows(const LanguageModel &model, const BenchRequest &request) {
  std::vector<BenchRow> rows;
  auto add = [&](int64_t prompt, int64_t generated, int64_t depth, int64_t batch) {
    BenchRow row;
    row.batch = batch;
    row.promptTokens = prompt;
    row.generatedTokens = generated;
    row.depth = depth;
    if (row.tokens() > 0)
      rows.push_back(row);
  };
  for (int64_t depth : request.depths)
    for (int64_t batch : request.batches) {
      // Prompts are one request's.
      if (batch == 1)
        for (int64_t tokens : request.promptLengths)
          add(tokens, 0, depth, 1);
      for (int64_t tokens : request.generateLengths)
        add(0, tokens, depth, batch);
    }
  for (const BenchRow &row : rows) {
    if (row.batch > mostRequests)
      throw Error("-b {}: expected at most {} requests", row.batch, mostRequests);
    if (int64_t needed = checkedAdd(row.depth, row.promptTokens + row.generatedTokens);
        needed > model.contextLength())
      throw Error("{} needs a context of {} tokens, and this one has {}; use fewer tokens or a "
                  "larger --ctx-size",
                  row.test(), needed, model.contextLength());
    if (int64_t needed = row.batch * BatchWork::pagesOf(model, row);
        row.batch > 1 && needed > model.pageCount())
      throw Error("{} needs a KV cache of {} tokens, and this one has {}; use a larger --ctx-size", row.test(),
                  needed * model.pageSize(), model.pageCount() * model.pageSize());
  }
  return rows;
}

static std::vector<BenchRow> encoderRows(const LanguageModel &model, const BenchRequest &request) {
  std::vector<BenchRow> rows;
  for (int64_t depth : request.depths)
    if (depth != 0)
      throw Error("-d {}: an encoder keeps no tokens between steps", depth);
  for (int64_t batch : request.batches)
    for (int64_t tokens : request.promptLengths) {
      if (tokens == 0)
        continue;
      if (tokens > model.contextLength() || tokens > model.maxStepTokens())
        throw Error("-p {}: a request of this encoder has at most {} tokens", tokens,
                    std::min(model.contextLength(), model.maxStepTokens()));
      if (batch > mostRequests)
        throw Error("-b {}: expected at most {} requests", batch, mostRequests);
      BenchRow row;
      row.promptTokens = tokens;
      row.batch = batch;
      rows.push_back(row);
    }
  return rows;
}

/// A function with its inputs in place; fills in what the row says of it.
static Work makeTensorWork(TensorModel &model, BenchRow &row, const BenchRequest &request) {
  ResidentCall call = model.makeResident(row.function, request.symbols);
  row.symbols = call.symbols;
  row.bytes = call.bytes;
  row.flops = call.flops;
  return [run = std::move(call.run)](Stopwatch &watch) {
    int64_t calls = 0;
    watch.start();
    do {
      run();
      ++calls;
    } while (watch.elapsed() < leastSeconds);
    return watch.stop() / double(calls);
  };
}

/// Throws when no row's function has a symbol that the request names.
static void checkSymbols(const std::vector<BenchRow> &rows, const BenchRequest &request) {
  for (const auto &[name, value] : request.symbols) {
    std::set<std::string> known;
    for (const BenchRow &row : rows)
      for (const auto &[symbol, extent] : row.symbols)
        known.insert(symbol);
    if (!known.contains(name))
      throw Error("--symbol {}: the functions have {}", name,
                  known.empty() ? "no symbols" : fmt::format("{}", fmt::join(known, ", ")));
  }
}

static Work makeWork(ModelHandle &model, BenchKind kind, BenchRow &row,
                     const BenchRequest &request) {
  if (kind == BenchKind::Tensors)
    return makeTensorWork(*model.tensors, row, request);
  if (kind == BenchKind::Encoder) {
    auto work = std::make_shared<EncoderWork>(*model.language, row);
    return [work](Stopwatch &watch) { return work->once(watch); };
  }
  if (row.batch > 1) {
    auto work = std::make_shared<BatchWork>(*model.language, row);
    return [work](Stopwatch &watch) { return work->once(watch); };
  }
  auto work = std::make_shared<CausalWork>(*model.language, row, request.chunk);
  return [work](Stopwatch &watch) { return work->once(watch); };
}

/// One round of a row. False when the request was cancelled.
static bool measure(const Work &work, Stopwatch &watch, const BenchRequest &request, BenchRow &row) {
  // The first run warms caches and memory up.
  for (int i = 0; i <= request.repetitions; ++i) {
    double seconds = work(watch);
    if (request.cancel && request.cancel->load())
      return false;
    if (i > 0) {
      row.seconds.push_back(seconds);
      watch.addTo(row);
    }
  }
  return true;
}

int rt::runBench(ModelHandle &model, const BenchRequest &request, Streams streams) {
  checkBench(request);
  BenchKind kind = !model.language                  ? BenchKind::Tensors
                   : model.language->bidirectional() ? BenchKind::Encoder
                                                     : BenchKind::Causal;
  if (kind != BenchKind::Tensors && !request.symbols.empty())
    throw Error("--symbol is for functions on tensors; {} takes -p, -n, -d and -b", model.name);
  std::vector<BenchRow> rows;
  if (kind == BenchKind::Tensors) {
    for (const std::string &function : model.tensors->functions())
      rows.emplace_back().function = function;
    for (BenchRow &row : rows)
      makeTensorWork(*model.tensors, row, request);
    checkSymbols(rows, request);
  } else {
    rows = kind == BenchKind::Causal ? causalRows(*model.language, request)
                                     : encoderRows(*model.language, request);
  }
  Stopwatch watch(
      [&](LaunchProfile *wanted) {
        return model.language ? model.language->setProfile(wanted)
                              : model.tensors->setProfile(wanted);
      },
      request.kernels);
  // Only one row has its memory at a time: language models have one cache, and tensors may be large. Where
  // there is one row only, it keeps it for all rounds.
  Work work;
  const BenchRow *ready = nullptr;
  bool lines = request.format == "jsonl";
  for (int round = 0; round < request.rounds; ++round)
    for (BenchRow &row : rows) {
      if (ready != &row) {
        work = nullptr;
        work = makeWork(model, kind, row, request);
        ready = &row;
      }
      BenchRow line = row;
      if (!measure(work, watch, request, lines ? line : row))
        return interruptedExitCode;
      if (lines)
        printBenchLine(model, kind, line, streams.out);
    }
  if (!lines)
    printBench(model, kind, rows, request.format, streams.out);
  return 0;
}
