//===- BenchReport.cpp - What a bench measured, printed -------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/BenchReport.h"

#include "runtime/Error.h"
#include "runtime/Expr.h"
#include "runtime/Program.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;
using Json = nlohmann::ordered_json;

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

static double median(std::vector<double> samples) {
  if (samples.empty())
    return 0;
  std::sort(samples.begin(), samples.end());
  size_t half = samples.size() / 2;
  return samples.size() % 2 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
}

/// `amount` a second in units of `unit`; 0 when no time passed.
static double rate(double amount, double seconds, double unit) {
  return seconds > 0 ? amount / seconds / unit : 0;
}

static std::vector<double> ratesOf(const BenchRow &row) {
  std::vector<double> rates;
  for (double seconds : row.seconds)
    rates.push_back(rate(double(row.tokens()), seconds, 1));
  return rates;
}

static std::vector<double> scaled(const std::vector<double> &seconds, double factor) {
  std::vector<double> result;
  for (double value : seconds)
    result.push_back(value * factor);
  return result;
}

std::string BenchRow::test() const {
  if (!function.empty()) {
    std::string name = function;
    for (const auto &[symbol, value] : symbols)
      name += fmt::format(" {}={}", symbol, value);
    return name;
  }
  std::string name = promptTokens > 0 ? fmt::format("pp{}", promptTokens)
                                      : fmt::format("tg{}", generatedTokens);
  if (batch != 1)
    name += fmt::format(" x {}", batch);
  if (depth != 0)
    name += fmt::format(" @ d{}", depth);
  return name;
}

void BenchRow::addProfile(const LaunchProfile &profile, double elapsed) {
  std::map<std::pair<const program::Function *, const program::Kernel *>, KernelTime> sums;
  double inside = 0;
  int64_t calls = 0;
  for (const auto &[called, count] : profile.calls)
    calls += count;
  for (const LaunchProfile::Record &record : profile.records) {
    KernelTime &sum = sums[{record.function, record.kernel}];
    if (sum.launches == 0) {
      sum.function = text(record.function->name());
      sum.kernel = text(record.kernel->name());
      sum.kind = text(record.kernel->kind());
      sum.label = text(record.launch->label());
      sum.seconds = {0};
    }
    ++sum.launches;
    sum.bytes = checkedAdd(sum.bytes, record.bytes);
    sum.flops = checkedAdd(sum.flops, record.flops);
    sum.seconds[0] += record.seconds;
    inside += record.seconds;
  }
  if (calls > 0)
    outside.push_back((elapsed - inside) / double(calls));
  for (auto &[key, sum] : sums) {
    int64_t count = profile.calls.at(key.first);
    sum.launches /= count;
    sum.bytes /= count;
    sum.flops /= count;
    sum.seconds[0] /= double(count);
    auto same = std::find_if(kernels.begin(), kernels.end(), [&](const KernelTime &known) {
      return known.function == sum.function && known.kernel == sum.kernel;
    });
    if (same == kernels.end())
      kernels.push_back(sum);
    else
      same->seconds.push_back(sum.seconds[0]);
  }
  std::sort(kernels.begin(), kernels.end(), [](const KernelTime &a, const KernelTime &b) {
    return median(a.seconds) > median(b.seconds);
  });
}

//===----------------------------------------------------------------------===//
// JSON and CSV
//===----------------------------------------------------------------------===//

static Json kernelFields(const KernelTime &kernel) {
  double seconds = median(kernel.seconds);
  return {{"function", kernel.function},
          {"kernel", kernel.kernel},
          {"kind", kernel.kind},
          {"label", kernel.label},
          {"launches", kernel.launches},
          {"bytes", kernel.bytes},
          {"flops", kernel.flops},
          {"median_ns", seconds * 1e9},
          {"gb_per_s", rate(double(kernel.bytes), seconds, 1e9)},
          {"gflop_per_s", rate(double(kernel.flops), seconds, 1e9)},
          {"samples_ns", scaled(kernel.seconds, 1e9)}};
}

static Json rowFields(const ModelHandle &model, BenchKind kind, const BenchRow &row) {
  std::vector<double> nanoseconds = scaled(row.seconds, 1e9);
  Json fields = {{"model", model.name},
                 {"model_type", model.architecture},
                 {"dtype", model.dtype},
                 {"model_size", model.weightBytes},
                 {"model_n_params", model.parameters},
                 {"backend", model.backend},
                 {"n_threads", model.threads},
                 {"test", row.test()}};
  if (kind == BenchKind::Tensors) {
    fields["function"] = row.function;
    fields["bytes"] = row.bytes;
    fields["flops"] = row.flops;
  } else {
    fields["n_prompt"] = row.promptTokens;
    fields["n_gen"] = row.generatedTokens;
    fields["n_depth"] = row.depth;
    fields["n_batch"] = row.batch;
  }
  fields["avg_ns"] = std::llround(mean(nanoseconds));
  fields["stddev_ns"] = std::llround(deviation(nanoseconds));
  fields["median_ns"] = std::llround(median(nanoseconds));
  if (kind == BenchKind::Tensors) {
    double seconds = median(row.seconds);
    fields["gb_per_s"] = rate(double(row.bytes), seconds, 1e9);
    fields["gflop_per_s"] = rate(double(row.flops), seconds, 1e9);
    fields["samples_ns"] = nanoseconds;
  } else {
    std::vector<double> rates = ratesOf(row);
    fields["avg_ts"] = mean(rates);
    fields["stddev_ts"] = deviation(rates);
    fields["samples_ts"] = rates;
  }
  if (!row.outside.empty()) {
    fields["outside_ns"] = median(row.outside) * 1e9;
    fields["kernels"] = Json::array();
    for (const KernelTime &kernel : row.kernels)
      fields["kernels"].push_back(kernelFields(kernel));
  }
  return fields;
}

void rt::printBenchLine(const ModelHandle &model, BenchKind kind, const BenchRow &row, std::ostream &out) {
  out << rowFields(model, kind, row).dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
}

static void printCsv(const ModelHandle &model, BenchKind kind, const std::vector<BenchRow> &rows,
                     std::ostream &out) {
  bool header = true;
  for (const BenchRow &row : rows) {
    Json fields = rowFields(model, kind, row);
    for (const char *list : {"samples_ts", "samples_ns", "kernels"})
      fields.erase(list);
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

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

/// The first line is the header; the columns in `left` are flush left, the others right.
static void printTable(const std::vector<std::vector<std::string>> &table,
                       const std::vector<size_t> &left, std::ostream &out) {
  // Code points, so that the ± counts as one column.
  auto columns = [](const std::string &text) {
    return size_t(std::count_if(text.begin(), text.end(),
                                [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  };
  auto isLeft = [&](size_t i) { return std::find(left.begin(), left.end(), i) != left.end(); };
  std::vector<size_t> widths(table[0].size());
  for (const auto &line : table)
    for (size_t i = 0; i < line.size(); ++i)
      widths[i] = std::max(widths[i], columns(line[i]));
  for (size_t l = 0; l < table.size(); ++l) {
    for (size_t i = 0; i < widths.size(); ++i) {
      std::string padding(widths[i] - columns(table[l][i]), ' ');
      out << "| " << (isLeft(i) ? table[l][i] + padding : padding + table[l][i]) << " ";
    }
    out << "|\n";
    if (l > 0)
      continue;
    for (size_t i = 0; i < widths.size(); ++i)
      out << "| " << std::string(isLeft(i) ? widths[i] : widths[i] - 1, '-')
          << (isLeft(i) ? " " : ": ");
    out << "|\n";
  }
}

/// Up to two decimals of a rate, a dash where nothing is counted.
static std::string rateText(double amount, double seconds) {
  return amount > 0 && seconds > 0 ? fmt::format("{:.2f}", rate(amount, seconds, 1e9)) : "-";
}

static void printRows(const ModelHandle &model, BenchKind kind, const std::vector<BenchRow> &rows,
                      std::ostream &out) {
  std::vector<std::string> header = {"model", "size", "params", "backend", "threads", "test"};
  if (kind != BenchKind::Causal)
    header.push_back("ms");
  if (kind == BenchKind::Tensors)
    header.insert(header.end(), {"GB/s", "GFLOP/s"});
  else
    header.push_back("t/s");
  std::vector<std::vector<std::string>> table = {header};
  std::string size = model.weightBytes >= 1ull << 30
                         ? fmt::format("{:.2f} GiB", double(model.weightBytes) / (1ull << 30))
                         : fmt::format("{:.2f} MiB", double(model.weightBytes) / (1ull << 20));
  std::string parameters = model.parameters >= 1000000000
                               ? fmt::format("{:.2f} B", double(model.parameters) / 1e9)
                               : fmt::format("{:.2f} M", double(model.parameters) / 1e6);
  for (const BenchRow &row : rows) {
    std::vector<std::string> line = {
        model.name + " " + model.dtype, size, parameters, model.backend,
        std::to_string(model.threads),  row.test()};
    if (kind != BenchKind::Causal)
      line.push_back(fmt::format("{:.3f}", median(row.seconds) * 1e3));
    if (kind == BenchKind::Tensors) {
      line.push_back(rateText(double(row.bytes), median(row.seconds)));
      line.push_back(rateText(double(row.flops), median(row.seconds)));
    } else {
      std::vector<double> rates = ratesOf(row);
      line.push_back(fmt::format("{:.2f} ± {:.2f}", mean(rates), deviation(rates)));
    }
    table.push_back(std::move(line));
  }
  printTable(table, {0}, out);
}

/// One step: every kernel, then what lies between them.
static void printKernels(const BenchRow &row, std::ostream &out) {
  double total = median(row.outside);
  for (const KernelTime &kernel : row.kernels)
    total += median(kernel.seconds);
  std::vector<std::vector<std::string>> table = {
      {"kernel", "kind", "launches", "ms", "%", "GB/s", "GFLOP/s", "first launch"}};
  auto add = [&](std::vector<std::string> names, double seconds, std::vector<std::string> rest) {
    names.insert(names.end(),
                 {fmt::format("{:.3f}", seconds * 1e3),
                  fmt::format("{:.1f}", total > 0 ? seconds / total * 100 : 0)});
    names.insert(names.end(), rest.begin(), rest.end());
    table.push_back(std::move(names));
  };
  for (const KernelTime &kernel : row.kernels) {
    double seconds = median(kernel.seconds);
    add({kernel.function + "/" + kernel.kernel, kernel.kind, std::to_string(kernel.launches)},
        seconds,
        {rateText(double(kernel.bytes), seconds), rateText(double(kernel.flops), seconds),
         kernel.label});
  }
  add({"outside of kernels", "", ""}, median(row.outside), {"-", "-", ""});
  out << "\n" << row.test() << ", one step:\n\n";
  printTable(table, {0, 1, 7}, out);
}

void rt::printBench(const ModelHandle &model, BenchKind kind, const std::vector<BenchRow> &rows,
                    const std::string &format, std::ostream &out) {
  if (format == "csv")
    return printCsv(model, kind, rows, out);
  if (format == "json") {
    Json list = Json::array();
    for (const BenchRow &row : rows)
      list.push_back(rowFields(model, kind, row));
    out << list.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  printRows(model, kind, rows, out);
  for (const BenchRow &row : rows)
    if (!row.outside.empty())
      printKernels(row, out);
}
