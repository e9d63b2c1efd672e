//===- Gguf.h - Reads GGUF headers ------------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/StoredTensor.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt {

/// Types of GGUF metadata values, with their numbers in the file.
enum class GgufType : uint32_t {
  U8 = 0, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64
};

/// "u8", "string", "array", ...
std::string_view ggufTypeName(GgufType type);

/// One metadata value.
struct GgufValue {
  GgufType type = GgufType::U8;
  /// A number or bool: its bytes, zero-extended to 8.
  uint64_t bits = 0;
  /// String.
  std::string text;
  /// Array: the type of the elements and how many there are.
  GgufType elementType = GgufType::U8;
  uint64_t count = 0;
  /// Array of numbers or bools: the elements as in the file.
  std::vector<std::byte> raw;
  /// Array of strings.
  std::vector<std::string> strings;
  /// Array of arrays.
  std::vector<GgufValue> nested;

  /// An integer or bool that is not negative; nothing for other values.
  std::optional<uint64_t> asUnsigned() const;
  /// A number or bool.
  std::optional<double> asDouble() const;
  /// Element `index` of an array of numbers or bools.
  GgufValue element(uint64_t index) const;
};

/// Metadata and tensors of a GGUF file (version 2 or 3, little endian). Every
/// count, offset and string has been checked against the file.
struct Gguf {
  std::string path;
  uint64_t size = 0;
  /// The files that StoredTensor.file counts: `path`, and the other parts of a
  /// model that is split (NAME-00001-of-00003.gguf and so on).
  std::vector<std::string> files;
  uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  /// In the file's order.
  std::vector<StoredTensor> tensors;

  /// The value of `key`, or null.
  const GgufValue *find(std::string_view key) const;
  /// The tensor called `name`, or null.
  const StoredTensor *findTensor(std::string_view name) const;

  /// Values by type. The optional forms give nothing when the key is absent; a
  /// value of another type throws rt::Error naming file, key and expectation.
  std::optional<uint64_t> getUnsigned(std::string_view key) const;
  std::optional<double> getDouble(std::string_view key) const;
  std::optional<bool> getBool(std::string_view key) const;
  std::optional<std::string> getString(std::string_view key) const;
  /// An array of strings, or null.
  const std::vector<std::string> *getStrings(std::string_view key) const;
};

/// Reads everything but the tensors' data, of all parts when `path` is the first
/// part of a split model. Throws rt::Error naming the file and the key or tensor.
Gguf readGguf(const std::string &path);

/// The same of one file alone, whatever its split.* keys say.
Gguf readGgufFile(const std::string &path);

} // namespace mlsys::rt
