//===- WeightLoader.h - From weight files to constants ----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"
#include "runtime/MappedFile.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// Runs a function over [0, count) in ranges, maybe on several threads, and
/// returns when all is done.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t begin, int64_t end)> &)>;

/// WeightSource.file of random numbers.
inline constexpr int32_t randomWeightsFile = -2;

/// The files that a program's constants are read from, mapped.
class WeightFiles {
public:
  /// Maps every weight file of `program`; relative paths start at `folder`.
  /// `appended` is the data region behind the FlatBuffer and outlives this
  /// object; `isMapped` says that it is part of a mapped file. Throws rt::Error when a file is missing or its size has changed.
  WeightFiles(const program::Program &program, const std::string &folder,
              std::span<const std::byte> appended, bool isMapped = false);

  /// The bytes of a source, checked against its file. Throws rt::Error.
  std::span<const std::byte> bytes(const program::WeightSource &source) const;

  /// Gives the memory of bytes of a source back, once they have been read. They may be read again.
  void release(const program::WeightSource &source, std::span<const std::byte> bytes) const;

  /// True for random numbers, which lie in no file.
  static bool isRandom(const program::WeightSource &source);

  /// The file of a source, for messages.
  std::string fileName(const program::WeightSource &source) const;

private:
  std::vector<MappedFile> files;
  std::span<const std::byte> appended;
  bool appendedIsMapped = false;
};

/// Loads one constant, as loadConstant does, whole or in pieces from its start to its end.
class ConstantLoader {
public:
  /// Throws rt::Error when the constant and its sources do not fit. `files` outlives this object.
  ConstantLoader(const program::Constant &constant, const WeightFiles &files);
  ~ConstantLoader();

  /// True when it can be loaded in pieces: row-major constants can.
  bool hasPieces() const;
  /// Fills `out` with the constant's bytes from `offset` on, a multiple of 64 KiB.
  void load(uint64_t offset, std::span<std::byte> out, const ParallelFor &parallelFor);

private:
  struct State;
  std::unique_ptr<State> state;
};

/// Fills `out`, which has constantBytes() bytes: reads the sources, dequantizes,
/// takes the rows that they say, in the order that they say, converts to the
/// constant's type and lays it out. What has been read of the files is given back on the way, so
/// that weights are in memory once. A quantized element is the bf16 number that
/// is nearest to its scaled value, whatever the constant's type: this is what
/// Hugging Face makes of these files, and so f32 and bf16 compute with equal
/// weights. Throws rt::Error naming the constant and its file.
void loadConstant(const program::Constant &constant, const WeightFiles &files,
                  std::span<std::byte> out, const ParallelFor &parallelFor);

} // namespace mlsys::rt
