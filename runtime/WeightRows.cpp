//===- WeightRows.cpp - The rows of a constant, from its sources ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/WeightRows.h"

#include "runtime/CheckedMath.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Program.h"
#include "runtime/StoredTensor.h"

#include <algorithm>
#include <cstring>

namespace mlsys::rt {

using program::Constant;
using program::DType;
using program::WeightSource;

std::string constantName(const Constant &constant) {
  return fmt::format("constant {}", constant.name() ? constant.name()->str() : "without a name");
}

ConstantRows constantRows(const Constant &constant) {
  std::span<const int64_t> shape = values(constant.shape());
  size_t leading = shape.size() < 2 ? shape.size() : shape.size() - 1;
  std::optional<uint64_t> rows = tryElementCount(shape.first(leading));
  std::optional<uint64_t> columns = tryElementCount(shape.subspan(leading));
  if (!rows || !columns || !tryElementCount(shape))
    throw Error("{} has the shape {}, which is too large", constantName(constant),
                shapeText(shape));
  return {static_cast<int64_t>(*rows), static_cast<int64_t>(*columns)};
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// Throws unless the types of `source` and the constant fit.
static void checkTypes(const Constant &constant, const WeightSource &source,
                       const std::string &what) {
  bool convertible = isFloatDType(source.dtype()) && isFloatDType(constant.dtype());
  if (source.dtype() != constant.dtype() && !convertible)
    throw Error("{} is {}, but {} is {}, and there is no conversion", what,
                dtypeName(source.dtype()), constantName(constant), dtypeName(constant.dtype()));
}

/// The rows that `source` takes of a tensor of `storedRows` rows. Throws when it
/// does not have them.
static int64_t takenRows(const WeightSource &source, int64_t storedRows, const std::string &what) {
  int64_t first = source.row_first(), group = source.row_group();
  int64_t stride = source.row_stride(), groups = source.row_groups();
  if (groups == 0)
    return storedRows;
  bool valid = first >= 0 && group >= 1 && groups >= 1 && stride >= group && group <= storedRows &&
               first <= storedRows - group && groups <= storedRows &&
               (groups == 1 || stride <= (storedRows - group - first) / (groups - 1));
  if (!valid)
    throw Error("{} has {} rows, but {} groups of {} rows are taken from row {}, {} rows apart",
                what, storedRows, groups, group, first, stride);
  return groups * group;
}

RowReader::Part RowReader::makePart(const Constant &constant, const WeightSource &source,
                                    const WeightFiles &files) const {
  std::string what = fmt::format("{}: tensor {}", files.fileName(source),
                                 source.name() ? source.name()->str() : "without a name");
  checkTypes(constant, source, what);
  std::span<const int64_t> shape = values(source.shape());
  Part part;
  part.from = source.dtype();
  part.blockElements = dtypeBlockElements(part.from);
  part.blockBytes = dtypeBlockBytes(part.from);
  uint64_t expected = storedBytes(what, part.from, shape);
  if (source.bytes() != expected)
    throw Error("{} has {} bytes, but shape {} of {} needs {}", what, source.bytes(),
                shapeText(shape), dtypeName(part.from), expected);
  size_t leading = shape.size() < 2 ? shape.size() : shape.size() - 1;
  std::optional<uint64_t> leadingCount = tryElementCount(shape.first(leading));
  std::optional<uint64_t> lastCount = tryElementCount(shape.subspan(leading));
  if (!leadingCount || !lastCount)
    throw Error("{} has the shape {}, which is too large", what, shapeText(shape));
  int64_t rows = static_cast<int64_t>(*leadingCount), columns = static_cast<int64_t>(*lastCount);
  part.storedColumns = columns;
  if ((part.transposed = source.transposed())) {
    if (part.blockElements > 1)
      throw Error("{} is {}, which cannot be read transposed", what, dtypeName(part.from));
    std::swap(rows, columns);
  }
  int64_t taken = takenRows(source, rows, what);
  part.rowFirst = source.row_groups() ? source.row_first() : 0;
  part.rowGroup = source.row_groups() ? source.row_group() : rows;
  part.rowStride = source.row_groups() ? source.row_stride() : rows;
  part.unpermuteRows = source.unpermute_rows();
  part.headRows = source.head_rows() ? source.head_rows() : source.unpermute_rows();
  if (part.unpermuteRows < 0 || part.unpermuteRows % 2 != 0 || part.headRows < 0 ||
      part.headRows < part.unpermuteRows || (part.unpermuteRows > 0 && taken % part.headRows != 0))
    throw Error("{} has {} rows, which cannot be reordered in blocks of {}", what, taken,
                part.unpermuteRows);
  part.end = taken;

  // As one long row, where nothing is moved.
  bool plain = !part.transposed && source.row_groups() == 0 && part.unpermuteRows == 0;
  bool whole = plain && constant.sources()->size() == 1;
  std::optional<uint64_t> count = tryElementCount(values(constant.shape()));
  bool fits = whole ? *tryElementCount(shape) == *count : columns == matrix.columns;
  if (!fits)
    throw Error("{} has shape {}, but {} has {}", what, shapeText(shape), constantName(constant),
                shapeText(values(constant.shape())));
  bool byRows = !whole || constant.layout() == program::Layout::Panels;
  if (byRows && matrix.columns % part.blockElements != 0)
    throw Error("{} has rows of {} elements, but blocks of {} have {}", what, matrix.columns,
                dtypeName(part.from), part.blockElements);
  part.data = files.bytes(source);
  part.source = &source;
  if (whole) {
    part.end = matrix.rows;
    part.rowGroup = part.rowStride = std::max<int64_t>(matrix.rows, 1);
  }
  return part;
}

RowReader::RowReader(const Constant &constant, const WeightFiles &files)
    : files(files), matrix(constantRows(constant)), to(constant.dtype()) {
  if (!constant.sources() || constant.sources()->size() == 0) {
    // The elements themselves, row-major.
    uint64_t expected = storedBytes(constantName(constant), to, values(constant.shape()));
    Part part;
    if (constant.data())
      part.data = std::as_bytes(std::span(constant.data()->data(), constant.data()->size()));
    if (part.data.size() != expected)
      throw Error("{} holds {} bytes, but shape {} of {} needs {}", constantName(constant),
                  part.data.size(), shapeText(values(constant.shape())), dtypeName(to), expected);
    part.from = to;
    part.blockBytes = dtypeBlockBytes(to);
    part.end = matrix.rows;
    part.rowGroup = part.rowStride = std::max<int64_t>(matrix.rows, 1);
    parts.push_back(part);
    return;
  }
  const auto &sources = *constant.sources();
  if (sources.size() == 1 && WeightFiles::isRandom(*sources[0])) {
    if (!isFloatDType(to) && to != DType::I8)
      throw Error("{} is {}, but random numbers are floating-point or i8",
                  constantName(constant), dtypeName(to));
    random = sources[0];
    return;
  }
  int64_t rows = 0;
  for (const WeightSource *source : sources) {
    Part part = makePart(constant, *source, files);
    int64_t taken = part.end;
    part.begin = rows;
    // No overflow: every source's rows are in a file.
    part.end = rows += taken;
    if (taken > 0)
      parts.push_back(part);
  }
  if (rows != matrix.rows)
    throw Error("{} has shape {}, but its {} sources have {} rows of {}", constantName(constant),
                shapeText(values(constant.shape())), sources.size(), rows, matrix.columns);
  const WeightSource &first = *sources[0];
  flat = sources.size() == 1 && !first.transposed() && first.row_groups() == 0 &&
         first.unpermute_rows() == 0;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

bool RowReader::isCopy() const {
  return !random && std::all_of(parts.begin(), parts.end(), [&](const Part &part) {
    return part.from == to && !part.transposed;
  });
}

int64_t RowReader::blockSize() const {
  // Every block is a power of two.
  int64_t largest = 1;
  for (const Part &part : parts)
    largest = std::max(largest, part.blockElements);
  return largest;
}

int64_t RowReader::Part::storedRow(int64_t row) const {
  row -= begin;
  if (unpermuteRows > 0) {
    // Stored as 0, d/2, 1, d/2 + 1, ...
    int64_t head = row / headRows, inside = row % headRows, half = unpermuteRows / 2;
    if (inside < unpermuteRows)
      inside = inside < half ? 2 * inside : 2 * (inside - half) + 1;
    row = head * headRows + inside;
  }
  return rowFirst + row / rowGroup * rowStride + row % rowGroup;
}

/// 64 well-mixed bits from a seed and a position (splitmix64).
static uint64_t mix(uint64_t seed, uint64_t position) {
  uint64_t x = seed + (position + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

void RowReader::readRandom(int64_t first, int64_t count, float *scratch, std::byte *out) const {
  float mean = random->random_mean(), spread = random->random_spread();
  for (int64_t i = 0; i < count; ++i) {
    uint64_t bits = mix(random->random_seed(), static_cast<uint64_t>(first + i));
    float unit = static_cast<float>(static_cast<int64_t>(bits >> 40) - (1 << 23)) * 0x1p-23f;
    scratch[i] = mean + spread * unit;
    if (to == DType::I8)
      out[i] = static_cast<std::byte>(static_cast<int8_t>(unit * 128));
  }
  if (to == DType::I8)
    return;
  convertFromF32(to, scratch, out, count);
}

static void roundToBf16(float *values, int64_t count) {
  uint16_t rounded[pieceColumns];
  for (int64_t i = 0; i < count; i += pieceColumns) {
    int64_t size = std::min(pieceColumns, count - i);
    convertFromF32(DType::BF16, values + i, reinterpret_cast<std::byte *>(rounded), size);
    convertToF32(DType::BF16, reinterpret_cast<const std::byte *>(rounded), values + i, size);
  }
}

void RowReader::convert(const Part &part, const std::byte *source, int64_t count, float *scratch,
                        std::byte *out) const {
  if (part.from == to) {
    std::memcpy(out, source, static_cast<size_t>(count * part.blockBytes));
  } else if (part.blockElements > 1 && to != DType::BF16) {
    convertToF32(part.from, source, scratch, count);
    roundToBf16(scratch, count);
    convertFromF32(to, scratch, out, count);
  } else if (to == DType::F32) {
    convertToF32(part.from, source, reinterpret_cast<float *>(out), count);
  } else {
    convertToF32(part.from, source, scratch, count);
    convertFromF32(to, scratch, out, count);
  }
}

void RowReader::readTransposed(const Part &part, int64_t row, int64_t column, int64_t count,
                               float *scratch, std::byte *out) const {
  alignas(16) std::byte gathered[pieceColumns * sizeof(double)];
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(gathered + i * part.blockBytes,
                part.data.data() + ((column + i) * part.storedColumns + row) * part.blockBytes,
                static_cast<size_t>(part.blockBytes));
  convert(part, gathered, count, scratch, out);
}

void RowReader::read(int64_t row, int64_t column, int64_t count, float *scratch,
                     std::byte *out) const {
  if (random)
    return readRandom(row * matrix.columns + column, count, scratch, out);
  const Part *part = &parts.front();
  if (parts.size() > 1)
    part = &*std::partition_point(parts.begin(), parts.end(),
                                  [&](const Part &candidate) { return candidate.end <= row; });
  int64_t stored = part->storedRow(row);
  if (part->transposed)
    return readTransposed(*part, stored, column, count, scratch, out);
  int64_t first = stored * matrix.columns + column;
  convert(*part, part->data.data() + first / part->blockElements * part->blockBytes, count,
          scratch, out);
}

void RowReader::release(int64_t begin, int64_t end) const {
  for (const Part &part : parts) {
    int64_t first = std::max(begin, part.begin), last = std::min(end, part.end) - 1;
    if (!part.source || part.transposed || first > last)
      continue;
    int64_t low = part.storedRow(first), high = part.storedRow(last);
    for (int64_t row = first; part.unpermuteRows > 0 && row <= last; ++row) {
      low = std::min(low, part.storedRow(row));
      high = std::max(high, part.storedRow(row));
    }
    auto offset = [&](int64_t row) {
      return static_cast<size_t>(row * matrix.columns / part.blockElements * part.blockBytes);
    };
    files.release(*part.source, part.data.subspan(offset(low), offset(high + 1) - offset(low)));
  }
}

void RowReader::releaseAll() const {
  for (const Part &part : parts)
    if (part.source)
      files.release(*part.source, part.data);
}

} // namespace mlsys::rt
