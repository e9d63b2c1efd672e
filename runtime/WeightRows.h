//===- WeightRows.h - The rows of a constant, from its sources --*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/WeightLoader.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mlsys::rt {

/// Columns that are converted at a time, a multiple of every quantized block.
inline constexpr int64_t pieceColumns = 512;

/// A constant's elements as a matrix: its last dimension is a row. A vector has
/// rows of one element.
struct ConstantRows {
  int64_t rows = 1;
  int64_t columns = 1;
};

/// "constant NAME", for messages.
std::string constantName(const program::Constant &constant);

/// The extents of a constant. Throws rt::Error when they are too large.
ConstantRows constantRows(const program::Constant &constant);

/// Gives pieces of a constant's rows in the constant's type. Reading is const
/// and may be done by several threads.
class RowReader {
public:
  /// Checks that the sources, or the data, fill the constant exactly. Throws
  /// rt::Error naming the constant and its file.
  RowReader(const program::Constant &constant, const WeightFiles &files);

  /// True when elements can be copied as they are, in pieces of any size.
  bool isCopy() const;

  /// True when the matrix may be read as one long row.
  bool isFlat() const { return flat; }

  /// Elements of a source that are stored together.
  int64_t blockSize() const;

  /// Writes elements [column, column + count) of row `row`. `column` is a
  /// multiple of 32 or of the source's block, `count` at most pieceColumns unless
  /// isCopy(). `scratch` has `count` elements.
  void read(int64_t row, int64_t column, int64_t count, float *scratch, std::byte *out) const;

  /// Gives the memory of the sources of rows [begin, end) back, as WeightFiles::release; a transposed
  /// source stays until `releaseAll`, for it is read in columns.
  void release(int64_t begin, int64_t end) const;
  void releaseAll() const;

private:
  /// One source: rows [begin, end) of the constant.
  struct Part {
    std::span<const std::byte> data;
    /// Null for data that lies in the program.
    const program::WeightSource *source = nullptr;
    int64_t begin = 0, end = 0;
    program::DType from = program::DType::F32;
    int64_t blockElements = 1, blockBytes = 0;
    /// See WeightSource.
    bool transposed = false;
    int64_t storedColumns = 1;
    int64_t rowFirst = 0, rowGroup = 0, rowStride = 0;
    int64_t unpermuteRows = 0, headRows = 0;

    int64_t storedRow(int64_t row) const;
  };

  Part makePart(const program::Constant &constant, const program::WeightSource &source,
                const WeightFiles &files) const;
  void readRandom(int64_t first, int64_t count, float *scratch, std::byte *out) const;
  void readTransposed(const Part &part, int64_t row, int64_t column, int64_t count,
                      float *scratch, std::byte *out) const;
  void convert(const Part &part, const std::byte *source, int64_t count, float *scratch,
               std::byte *out) const;

  const WeightFiles &files;
  ConstantRows matrix;
  program::DType to;
  bool flat = true;
  const program::WeightSource *random = nullptr;
  std::vector<Part> parts;
};

} // namespace mlsys::rt
