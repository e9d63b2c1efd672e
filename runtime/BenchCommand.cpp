//===- BenchCommand.cpp - Prompt and generation speed -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/Interrupt.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>
#include <random>

using namespace mlsys;
using namespace mlsys::rt;

namespace {
/// The measurements of one row.
struct Row {
  int64_t promptTokens = 0, generatedTokens = 0;
  std::vector<double> seconds;

  int64_t tokens() const { return promptTokens + generatedTokens; }
  std::string test() const {
    return promptTokens > 0 ? fmt::format("pp{}", promptTokens)
                            : fmt::format("tg{}", generatedTokens);
  }
};
} // namespace

static double mean(const std::vector<double> &samples) {
  double sum = 0;
  for (double sample : samples)
    sum += sample;
  return samples.empty() ? 0 : sum / double(samples.size());
}

/// Of a sample: the divisor is n - 1.
static double deviation(const std::vector<double> &samples) {
  if (samples.size() < 2)
    return 0;
  double center = mean(samples), sum = 0;
  for (double sample : samples)
    sum += (sample - center) * (sample - center);
  return std::sqrt(sum / double(samples.size() - 1));
}

static std::vector<double> ratesOf(const Row &row) {
  std::vector<double> rates;
  for (double seconds : row.seconds)
    rates.push_back(double(row.tokens()) / seconds);
  return rates;
}

void rt::checkBench(const BenchRequest &request) {
  if (request.repetitions < 1)
    throw Error("-r {}: expected at least one repetition", request.repetitions);
  if (request.format != "md" && request.format != "json" && request.format != "csv")
    throw Error("-o {}: expected md, json or csv", request.format);
  for (int64_t tokens : request.promptLengths)
    if (tokens < 0)
      throw Error("-p {}: expected a number of tokens", tokens);
  for (int64_t tokens : request.generateLengths)
    if (tokens < 0)
      throw Error("-n {}: expected a number of tokens", tokens);
}

/// Runs one prompt in chunks, or `tokens` steps of one token, and gives the time.
static double measure(LanguageModel &model, const Row &row, int64_t chunk, std::mt19937_64 &random) {
  std::uniform_int_distribution<int64_t> anyId(0, model.idLimit() - 1);
  std::vector<int64_t> ids(size_t(row.tokens()));
  for (int64_t &id : ids)
    id = anyId(random);
  if (row.generatedTokens > 0)
    chunk = 1;
  else if (chunk <= 0)
    chunk = model.preferredChunk();
  chunk = std::clamp<int64_t>(chunk, 1, model.maxStepTokens());
  KvCache cache(model.pageSize(), model.pageCount());
  auto start = std::chrono::steady_clock::now();
  Sequence sequence(model, cache);
  for (size_t done = 0; done < ids.size(); done += size_t(chunk))
    sequence.push(std::span(ids).subspan(done, std::min(size_t(chunk), ids.size() - done)));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

static nlohmann::ordered_json rowFields(const ModelHandle &model, const Row &row) {
  std::vector<double> rates = ratesOf(row);
  std::vector<double> nanoseconds;
  for (double seconds : row.seconds)
    nanoseconds.push_back(std::round(seconds * 1e9));
  return {{"model", model.name},
          {"model_type", model.architecture},
          {"dtype", model.dtype},
          {"model_size", model.weightBytes},
          {"model_n_params", model.parameters},
          {"backend", model.backend},
          {"n_threads", model.threads},
          {"test", row.test()},
          {"n_prompt", row.promptTokens},
          {"n_gen", row.generatedTokens},
          {"avg_ns", std::llround(mean(nanoseconds))},
          {"stddev_ns", std::llround(deviation(nanoseconds))},
          {"avg_ts", mean(rates)},
          {"stddev_ts", deviation(rates)},
          {"samples_ts", rates}};
}

static void printMarkdown(const ModelHandle &model, const std::vector<Row> &rows,
                          std::ostream &out) {
  std::vector<std::vector<std::string>> table = {
      {"model", "size", "params", "backend", "threads", "test", "t/s"}};
  std::string size = model.weightBytes >= 1ull << 30
                         ? fmt::format("{:.2f} GiB", double(model.weightBytes) / (1ull << 30))
                         : fmt::format("{:.2f} MiB", double(model.weightBytes) / (1ull << 20));
  std::string parameters = model.parameters >= 1000000000
                               ? fmt::format("{:.2f} B", double(model.parameters) / 1e9)
                               : fmt::format("{:.2f} M", double(model.parameters) / 1e6);
  for (const Row &row : rows) {
    std::vector<double> rates = ratesOf(row);
    table.push_back({model.name + " " + model.dtype, size, parameters, model.backend,
                     std::to_string(model.threads), row.test(),
                     fmt::format("{:.2f} ± {:.2f}", mean(rates), deviation(rates))});
  }
  // Code points, so that the ± counts as one column.
  auto columns = [](const std::string &text) {
    return size_t(std::count_if(text.begin(), text.end(),
                                [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  };
  std::vector<size_t> widths(table[0].size());
  for (const auto &line : table)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], columns(line[i]));
  for (size_t l = 0; l < table.size(); ++l) {
    for (size_t i = 0; i < widths.size(); ++i) {
      std::string padding(widths[i] - columns(table[l][i]), ' ');
      out << "| " << (i == 0 ? table[l][i] + padding : padding + table[l][i]) << " ";
    }
    out << "|\n";
    if (l > 0)
      continue;
    for (size_t i = 0; i < widths.size(); ++i)
      out << "| " << std::string(i == 0 ? widths[i] : widths[i] - 1, '-') << (i == 0 ? " " : ": ");
    out << "|\n";
  }
}

static void printCsv(const ModelHandle &model, const std::vector<Row> &rows, std::ostream &out) {
  bool header = true;
  for (const Row &row : rows) {
    nlohmann::ordered_json fields = rowFields(model, row);
    fields.erase("samples_ts");
    std::string names, line;
    for (const auto &[name, value] : fields.items()) {
      names += (names.empty() ? "" : ",") + name;
      std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      std::string quoted;
      for (char c : text)
        quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
      line += (line.empty() ? "\"" : ",\"") + quoted + "\"";
    }
    if (header)
      out << names << "\n";
    header = false;
    out << line << "\n";
  }
}

int rt::runBench(ModelHandle &model, const BenchRequest &request, Streams streams) {
  checkBench(request);
  if (!model.language)
    throw Error("{} is no causal language model", model.name);
  std::vector<Row> rows;
  for (int64_t tokens : request.promptLengths)
    if (tokens > 0)
      rows.push_back({tokens, 0, {}});
  for (int64_t tokens : request.generateLengths)
    if (tokens > 0)
      rows.push_back({0, tokens, {}});
  for (const Row &row : rows)
    if (row.tokens() > model.language->contextLength())
      throw Error("{} needs a context of {} tokens, and this one has {}; use fewer tokens or a "
                  "larger --ctx-size",
                  row.test(), row.tokens(), model.language->contextLength());
  std::mt19937_64 random(0);
  bool cancelled = false;
  for (Row &row : rows) {
    // The first run warms caches and memory up.
    for (int i = 0; i <= request.repetitions && !cancelled; ++i) {
      double seconds = measure(*model.language, row, request.chunk, random);
      if (i > 0)
        row.seconds.push_back(seconds);
      cancelled = request.cancel && request.cancel->load();
    }
  }
  if (cancelled)
    return interruptedExitCode;
  if (request.format == "md") {
    printMarkdown(model, rows, streams.out);
  } else if (request.format == "csv") {
    printCsv(model, rows, streams.out);
  } else {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Row &row : rows)
      list.push_back(rowFields(model, row));
    streams.out << list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  }
  return 0;
}
