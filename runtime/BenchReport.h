//===- BenchReport.h - What a bench measured, printed -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/LaunchProfile.h"
#include "runtime/ModelHandle.h"

#include <iosfwd>
#include <map>
#include <string>
#include <vector>

namespace mlsys::rt {

/// All launches of one kernel in one call of a function: a step.
struct KernelTime {
  std::string function, kernel, kind;
  /// What its first launch computes.
  std::string label;
  int64_t launches = 0, bytes = 0, flops = 0;
  /// Of each repetition.
  std::vector<double> seconds;
};

/// The measurements of one row of a bench.
struct BenchRow {
  int64_t promptTokens = 0, generatedTokens = 0, depth = 0, batch = 1;
  /// Of a function on tensors: its name, symbols, bytes of its inputs and outputs, and flops.
  std::string function;
  std::map<std::string, int64_t> symbols;
  int64_t bytes = 0, flops = 0;
  /// Of each repetition.
  std::vector<double> seconds;
  std::vector<KernelTime> kernels;
  /// Of each repetition, per step: what is not in a kernel, where kernels were timed.
  std::vector<double> outside;

  int64_t tokens() const { return (promptTokens + generatedTokens) * batch; }
  /// "pp512", "tg128 @ d512", "pp128 x 32", "forward N=4096".
  std::string test() const;
  /// Adds what `profile` recorded in a repetition that took `elapsed` seconds.
  void addProfile(const LaunchProfile &profile, double elapsed);
};

/// What the rows of a model are about.
enum class BenchKind { Causal, Encoder, Tensors };

/// Prints a row as a line of JSON and flushes it.
void printBenchLine(const ModelHandle &model, BenchKind kind, const BenchRow &row, std::ostream &out);

/// Prints rows as "md", "json" or "csv".
void printBench(const ModelHandle &model, BenchKind kind, const std::vector<BenchRow> &rows,
                const std::string &format, std::ostream &out);

} // namespace mlsys::rt
