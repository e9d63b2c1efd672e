//===- Program.h - Compiled models in memory and on disk --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// Opens .mlsys files and programs that were compiled in memory. Both are
// verified completely before anything else sees them: after that, every index,
// expression, offset and size of the schema may be used without a check.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/DType.h"

#include "Program_generated.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// The text of a string field; empty when it is absent.
inline std::string_view text(const flatbuffers::String *string) {
  return string ? std::string_view(string->data(), string->size()) : std::string_view();
}

/// The number of elements of a vector field; 0 when it is absent.
template <typename T> uint32_t length(const flatbuffers::Vector<T> *vector) {
  return vector ? vector->size() : 0;
}

/// The elements of a vector field of integers; empty when it is absent.
template <typename T> std::span<const T> values(const flatbuffers::Vector<T> *vector) {
  return vector ? std::span<const T>(vector->data(), vector->size()) : std::span<const T>();
}

/// Bytes of a constant in memory, as its layout says, padding included.
uint64_t constantBytes(const program::Constant &constant);

/// A verified program and the memory that it lies in. Movable; references to
/// its tables stay valid as long as it lives.
class LoadedProgram {
public:
  /// Maps a .mlsys file. Throws rt::Error naming the file and what is wrong.
  static LoadedProgram fromFile(const std::string &path);
  /// Takes a FlatBuffer alone (no appended data). `baseDir` is what relative
  /// weight paths start from.
  static LoadedProgram fromBytes(std::vector<uint8_t> bytes, std::string baseDir);

  const program::Program &get() const { return *root; }
  const program::Program *operator->() const { return root; }
  /// The bytes that sources with `file == -1` lie in.
  std::span<const std::byte> appendedData() const { return appended; }
  /// True when the program and its appended data are part of a mapped file.
  bool isMapped() const { return mapped; }
  /// The folder that relative weight paths start from.
  const std::string &baseDir() const { return base; }
  /// The file's path, or "compiled model" for a program in memory.
  const std::string &name() const { return source; }
  /// The part for "cpu" or "cuda"; throws naming those there are. Of several for CUDA the most
  /// special that a GPU of `arch` runs.
  const program::TargetProgram &target(std::string_view name, std::string_view arch = {}) const;

private:
  LoadedProgram() = default;

  std::shared_ptr<const void> memory;
  const program::Program *root = nullptr;
  std::span<const std::byte> appended;
  bool mapped = false;
  std::string base, source;
};

/// Writes a .mlsys file: the FlatBuffer, then `appended` one after another as the
/// data region. The file appears whole or not at all.
void writeProgramFile(const std::string &path, std::span<const uint8_t> flatbuffer,
                      std::span<const std::span<const std::byte>> appended = {});

/// Verifies a program: the FlatBuffer's structure, then every index, expression,
/// offset and size. `appendedBytes` is the size of the data region. Throws
/// rt::Error. fromFile and fromBytes call it.
const program::Program &verifyProgram(std::span<const uint8_t> flatbuffer, uint64_t appendedBytes);

} // namespace mlsys::rt
