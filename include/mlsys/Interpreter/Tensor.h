//===- Tensor.h - Values of the interpreter ---------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "Program_generated.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace mlsys {

/// The nearest value of a float type, ties to even. `dtype` is F16, BF16, F32 or
/// F64; 16-bit types are reached through f32, as kernels do.
double roundToFloatType(double value, program::DType dtype);

/// "[2, 3]".
std::string shapeText(llvm::ArrayRef<int64_t> shape);

/// The product of the extents.
int64_t countElements(llvm::ArrayRef<int64_t> shape);

/// Bytes of one element; 0 for the block types of GGUF.
size_t elementBytes(program::DType dtype);

/// "f32", "i64", ...
llvm::StringRef dtypeText(program::DType dtype);

/// A dense row-major tensor. Copies share their elements: a tensor is written only
/// by the function that makes it, before anyone else sees it.
class Tensor {
public:
  Tensor() = default;
  /// Zeros.
  Tensor(program::DType dtype, llvm::ArrayRef<int64_t> shape);
  /// Elements as they lie in memory: little endian, a byte for a bool. 16-bit
  /// floats are encoded.
  static llvm::Expected<Tensor> fromBytes(program::DType dtype, llvm::ArrayRef<int64_t> shape,
                                          llvm::ArrayRef<std::byte> bytes);
  std::vector<std::byte> toBytes() const;
  /// The same elements under another shape of as many.
  Tensor reshaped(llvm::ArrayRef<int64_t> shape) const;

  program::DType dtype() const { return type; }
  llvm::ArrayRef<int64_t> shape() const { return extents; }
  int64_t rank() const { return extents.size(); }
  int64_t dim(int64_t index) const { return extents[index]; }
  /// The number of elements.
  int64_t size() const { return count; }
  bool isFloat() const;

  /// An element by its row-major number. Floats are read as double, which holds
  /// each exactly; integers and booleans as int64.
  double getFloat(int64_t index) const;
  int64_t getInt(int64_t index) const;
  /// Rounds to the element type; the integer form wraps.
  void setFloat(int64_t index, double value);
  void setInt(int64_t index, int64_t value);

  /// The elements of an F16, BF16 or F32 tensor.
  const float *floats() const { return std::get<std::vector<float>>(*elements).data(); }

private:
  program::DType type = program::DType::F32;
  std::vector<int64_t> extents;
  int64_t count = 0;
  /// float for F16, BF16 and F32, double for F64, int64_t for the rest.
  using Elements = std::variant<std::vector<float>, std::vector<double>, std::vector<int64_t>>;
  std::shared_ptr<Elements> elements;
};

/// The pages of a KV cache.
struct KvPages {
  KvPages(int64_t pages, int64_t layers, int64_t heads, int64_t headDim, int64_t pageSize,
          program::DType dtype);

  int64_t pages, layers, heads, headDim, pageSize;
  program::DType dtype;
  /// For each page [layer][K then V][row][head][element]; a page that was never used is empty.
  std::vector<std::vector<float>> elements;

  /// The `headDim` elements of one head of one token. `slot` is page * pageSize + row;
  /// `part` is 0 for keys, 1 for values.
  float *row(int64_t layer, int64_t part, int64_t slot, int64_t head);
  /// Makes one page zero.
  void zero(int64_t page);
};

/// A KV cache (layer -1) or one layer of it.
struct CacheValue {
  std::shared_ptr<KvPages> pages;
  int64_t layer = -1;
};

/// What an SSA value of the graph dialect holds.
using InterpreterValue = std::variant<Tensor, CacheValue>;

} // namespace mlsys
