//===- Tune.h - Measures tile sizes -----------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/CodeGen/TileTable.h"
#include "mlsys/Driver/Compiler.h"

namespace mlsys {

/// What `mlsys tune` is asked for.
struct TuneRequest {
  /// The model; compiled for `device`.
  CompileRequest compile;
  /// What is measured: "cpu", "cuda", "cuda:N", or "host-cuda", which shows no more than that it works.
  std::string device = "cpu";
  /// CPU: worker threads; 0: one a core.
  int threads = 0;
  /// CPU: in each round every size is varied around the best that is known. CUDA has one round of the best
  /// tiles by model.
  int rounds = 1;
  /// Steps of each phase that are timed for each variation.
  int repetitions = 3;
  /// Called with the number of the variation and of the round, from 1.
  std::function<void(int round, int64_t candidate)> progress;
};

/// A shape and what was found for it.
struct TunedShape {
  std::string shape, rule, best;
  /// Seconds that the shape's kernels take in one step of every phase.
  double ruleSeconds = 0, bestSeconds = 0;
};

/// Times the kernels of a model inside its steps (a prefill step, a decode step for each bucket;
/// or a call of each plain function) with every variation of their tile sizes, and takes the
/// fastest. Shapes that `known` has and the model lacks stay in the table.
struct TuneResult {
  TileTable table;
  std::vector<TunedShape> shapes;
  /// Seconds of one step of every phase by rule and with the table, measured in turns.
  double ruleSeconds = 0, tunedSeconds = 0;
  /// Variations that could not be measured, and why.
  std::vector<std::string> warnings;
};
llvm::Expected<TuneResult> tuneModel(const TuneRequest &request, const TileTable *known);

} // namespace mlsys
