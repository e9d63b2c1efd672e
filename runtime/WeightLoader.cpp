//===- WeightLoader.cpp - From weight files to constants ------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// Work is cut into row blocks and, inside, into pieces of columns small enough
// that every intermediate stays in a cache; results are written front to back.
//
//===----------------------------------------------------------------------===//
#include "runtime/WeightLoader.h"

#include "runtime/CheckedMath.h"
#include "runtime/Dequantize.h"
#include "runtime/Error.h"
#include "runtime/Program.h"
#include "runtime/StoredTensor.h"
#include "runtime/WeightRows.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <numeric>

namespace mlsys::rt {

using program::Constant;
using program::DType;
using program::Layout;
using program::WeightSource;

/// WeightSource.file of data behind the FlatBuffer.
static constexpr int32_t appendedFile = -1;
/// Bytes of a panel that are read at a time: where numbers are converted, so much that it stays in
/// the first-level cache; where they are copied, runs long enough for memory to be read at speed.
static constexpr int64_t convertedPanelBytes = 32 << 10;
static constexpr int64_t copiedPanelBytes = 256 << 10;
/// Bytes of a constant after which its sources are given back.
static constexpr int64_t releaseBytes = 8 << 20;
/// Elements of one task of a row-major constant.
static constexpr int64_t taskElements = 32768;
/// Largest Constant.block and Constant.pair.
static constexpr int64_t maxBlock = 4096;
static constexpr int64_t maxPair = 64;

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

WeightFiles::WeightFiles(const program::Program &program, const std::string &folder,
                         std::span<const std::byte> appended, bool isMapped)
    : appended(appended), appendedIsMapped(isMapped) {
  if (!program.weight_files())
    return;
  for (const program::WeightFile *file : *program.weight_files()) {
    if (!file->path() || file->path()->size() == 0)
      throw Error("the program lists a weight file without a path");
    std::filesystem::path path(file->path()->str());
    if (path.is_relative())
      path = std::filesystem::path(folder) / path;
    files.emplace_back(path.string());
    if (files.back().size() != file->size())
      throw Error("{} has {} bytes, but had {} when the program was compiled; compile it again",
                  path.string(), files.back().size(), file->size());
  }
}

bool WeightFiles::isRandom(const WeightSource &source) { return source.file() == randomWeightsFile; }

std::string WeightFiles::fileName(const WeightSource &source) const {
  if (source.file() == appendedFile)
    return "the appended data";
  if (source.file() == randomWeightsFile)
    return "random numbers";
  if (source.file() >= 0 && static_cast<size_t>(source.file()) < files.size())
    return files[static_cast<size_t>(source.file())].path();
  return fmt::format("weight file {}", source.file());
}

static std::string sourceName(const WeightSource &source) {
  return source.name() ? source.name()->str() : std::string("without a name");
}

std::span<const std::byte> WeightFiles::bytes(const WeightSource &source) const {
  std::span<const std::byte> whole;
  if (source.file() == appendedFile)
    whole = appended;
  else if (source.file() >= 0 && static_cast<size_t>(source.file()) < files.size())
    whole = files[static_cast<size_t>(source.file())].bytes();
  else
    throw Error("tensor {} is in weight file {}, but the program lists {} files",
                sourceName(source), source.file(), files.size());
  if (!rangeInside(source.offset(), source.bytes(), whole.size()))
    throw Error("{}: tensor {} has {} bytes at offset {}, beyond the end ({} bytes)",
                fileName(source), sourceName(source), source.bytes(), source.offset(),
                whole.size());
  return whole.subspan(source.offset(), source.bytes());
}

void WeightFiles::release(const WeightSource &source, std::span<const std::byte> bytes) const {
  if (source.file() >= 0 || appendedIsMapped)
    MappedFile::release(bytes);
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

namespace {
/// A constant's shape as a matrix and its checked sizes.
struct Matrix : ConstantRows {
  int64_t elementBytes = 0;
  /// Panels: the rows of each matrix (one, or those of all experts), and rows and columns with
  /// padding, the rows of all matrices together.
  int64_t matrixRows = 1;
  int64_t paddedRows = 0;
  int64_t paddedColumns = 0;
  uint64_t bytes = 0;
};
} // namespace

static Matrix matrixOf(const Constant &constant) {
  std::string name = constantName(constant);
  std::span<const int64_t> shape = values(constant.shape());
  if (dtypeBlockElements(constant.dtype()) != 1)
    throw Error("{} has type {}, which is a type of sources only", name,
                dtypeName(constant.dtype()));
  Matrix matrix;
  matrix.elementBytes = dtypeBlockBytes(constant.dtype());
  matrix.bytes = storedBytes(name, constant.dtype(), shape);
  auto count = [&](std::span<const int64_t> dims) {
    std::optional<uint64_t> elements = tryElementCount(dims);
    if (!elements)
      throw Error("{} has the shape {}, which is too large", name, shapeText(shape));
    return static_cast<int64_t>(*elements);
  };
  static_cast<ConstantRows &>(matrix) = constantRows(constant);
  switch (constant.layout()) {
  case Layout::RowMajor:
    return matrix;
  case Layout::Panels:
    break;
  default:
    throw Error("{} has layout {}, which this version does not know", name,
                static_cast<int>(constant.layout()));
  }
  int64_t block = constant.block(), pair = constant.pair();
  if ((shape.size() != 2 && shape.size() != 3) || block < 1 || block > maxBlock || pair < 1 ||
      pair > maxPair)
    throw Error("{} has shape {}, block {} and pair {}; panels need a matrix or matrices, a block "
                "of 1 to {} and a pair of 1 to {}",
                name, shapeText(shape), block, pair, maxBlock, maxPair);
  auto pad = [&](int64_t extent, int64_t step) {
    std::optional<uint64_t> steps = tryMul(
        static_cast<uint64_t>(extent / step + (extent % step != 0)), static_cast<uint64_t>(step));
    if (!steps || *steps > static_cast<uint64_t>(INT64_MAX))
      throw Error("{} has the shape {}, which is too large", name, shapeText(shape));
    return static_cast<int64_t>(*steps);
  };
  matrix.matrixRows = shape[shape.size() - 2];
  const int64_t paddedShape[] = {shape.size() == 3 ? shape[0] : 1, pad(matrix.matrixRows, block)};
  matrix.paddedRows = count(paddedShape);
  matrix.paddedColumns = pad(matrix.columns, pair);
  const int64_t padded[] = {matrix.paddedRows, matrix.paddedColumns};
  matrix.bytes = storedBytes(name, constant.dtype(), padded);
  return matrix;
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

namespace {
/// Gives back, every so often, what one thread has read of a constant.
class Released {
public:
  /// Counts elements of `matrix`, without padding, from `element` on.
  Released(const RowReader &reader, const Matrix &matrix, int64_t element)
      : reader(reader), columns(std::max<int64_t>(matrix.columns, 1)), start(element),
        step(std::max<int64_t>(releaseBytes / matrix.elementBytes, 1)), done(element) {}
  ~Released() { release(); }
  Released(const Released &) = delete;
  Released &operator=(const Released &) = delete;

  /// All elements before `element` have been read.
  void advance(int64_t element) {
    done = element;
    if (done - start >= step)
      release();
  }

private:
  void release() {
    reader.release(start / columns, (done + columns - 1) / columns);
    start = done;
  }

  const RowReader &reader;
  int64_t columns, start, step, done;
};
} // namespace

/// Loads the elements [begin, end) of the logical shape to `out`.
static void loadRowMajor(const Matrix &matrix, const RowReader &reader, int64_t begin, int64_t end, std::byte *out,
                         const ParallelFor &parallelFor) {
  // Rows in their own order are one long row.
  int64_t columns = reader.isFlat() ? matrix.rows * matrix.columns : matrix.columns;
  int64_t tasksPerRow = (columns + taskElements - 1) / taskElements;
  // A task has up to taskElements of one row; tasks are counted from the row's start.
  auto taskOf = [&](int64_t element) { return element / columns * tasksPerRow + element % columns / taskElements; };
  int64_t firstTask = taskOf(begin);
  parallelFor(taskOf(end - 1) + 1 - firstTask, [&](int64_t from, int64_t to) {
    float scratch[pieceColumns];
    int64_t task = firstTask + from;
    Released released(reader, matrix,
                      std::max(begin, task / tasksPerRow * columns + task % tasksPerRow * taskElements));
    for (; task < firstTask + to; ++task) {
      int64_t row = task / tasksPerRow, start = row * columns;
      int64_t first = std::max(start + task % tasksPerRow * taskElements, begin) - start;
      int64_t last = std::min({(task % tasksPerRow + 1) * taskElements, columns, end - start});
      int64_t step = reader.isCopy() ? taskElements : pieceColumns;
      for (int64_t column = first; column < last; column += step)
        reader.read(row, column, std::min(step, last - column), scratch,
                    out + (start + column - begin) * matrix.elementBytes);
      released.advance(start + last);
    }
  });
}

static void loadPanels(const Constant &constant, const Matrix &matrix, const RowReader &reader,
                       std::byte *out, const ParallelFor &parallelFor) {
  int64_t block = constant.block(), pair = constant.pair();
  int64_t unit = pair * matrix.elementBytes;
  // Pieces begin at a multiple of the source's block and of the pair.
  int64_t piece = std::lcm(pair, std::max<int64_t>(reader.blockSize(), 32));
  int64_t panelBytes = reader.isCopy() ? copiedPanelBytes : convertedPanelBytes;
  int64_t fitting = std::max<int64_t>(panelBytes / (block * matrix.elementBytes), 1);
  if (!reader.isCopy())
    fitting = std::min(fitting, pieceColumns);
  piece *= std::max<int64_t>(fitting / piece, 1);
  int64_t stride = piece * matrix.elementBytes;
  int64_t matrixPanels = matrix.matrixRows / block + (matrix.matrixRows % block != 0);
  parallelFor(matrix.paddedRows / block, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(piece));
    std::vector<std::byte> rows(static_cast<size_t>(block * stride));
    auto firstRowOf = [&](int64_t panel) {
      return panel / matrixPanels * matrix.matrixRows + panel % matrixPanels * block;
    };
    Released released(reader, matrix, firstRowOf(begin) * matrix.columns);
    for (int64_t panel = begin; panel < end; ++panel) {
      std::byte *destination = out + panel * block * matrix.paddedColumns * matrix.elementBytes;
      int64_t first = panel % matrixPanels * block;
      int64_t present = std::min(block, matrix.matrixRows - first);
      int64_t firstRow = firstRowOf(panel);
      if (present < block)
        std::fill(rows.begin(), rows.end(), std::byte(0));
      for (int64_t column = 0; column < matrix.columns; column += piece) {
        int64_t count = std::min(piece, matrix.columns - column);
        int64_t units = (count + pair - 1) / pair;
        for (int64_t row = 0; row < present; ++row) {
          std::byte *start = rows.data() + row * stride;
          reader.read(firstRow + row, column, count, scratch.data(), start);
          std::memset(start + count * matrix.elementBytes, 0,
                      static_cast<size_t>((units * pair - count) * matrix.elementBytes));
        }
        transposeUnits(rows.data(), stride, block, units, unit, destination);
        destination += units * block * unit;
      }
      released.advance((firstRow + present) * matrix.columns);
    }
  });
}

struct ConstantLoader::State {
  State(const Constant &constant, const WeightFiles &files)
      : constant(constant), matrix(checkedMatrix(constant)), reader(constant, files) {}

  static Matrix checkedMatrix(const Constant &constant) {
    Matrix matrix = matrixOf(constant);
    if (constant.bytes() != matrix.bytes)
      throw Error("{} is said to have {} bytes, but shape {} of {} needs {}", constantName(constant),
                  constant.bytes(), shapeText(values(constant.shape())), dtypeName(constant.dtype()),
                  matrix.bytes);
    return matrix;
  }

  const Constant &constant;
  Matrix matrix;
  RowReader reader;
};

ConstantLoader::ConstantLoader(const Constant &constant, const WeightFiles &files)
    : state(std::make_unique<State>(constant, files)) {}
ConstantLoader::~ConstantLoader() = default;

bool ConstantLoader::hasPieces() const { return state->constant.layout() == Layout::RowMajor; }

void ConstantLoader::load(uint64_t offset, std::span<std::byte> out, const ParallelFor &parallelFor) {
  const Matrix &matrix = state->matrix;
  bool whole = offset == 0 && out.size() == matrix.bytes;
  auto elementBytes = static_cast<uint64_t>(matrix.elementBytes);
  if (!rangeInside(offset, out.size(), matrix.bytes) || (!whole && !hasPieces()) || offset % elementBytes != 0 ||
      out.size() % elementBytes != 0)
    throw Error("{} has {} bytes, of which {} from byte {} on were asked for", constantName(state->constant),
                matrix.bytes, out.size(), offset);
  if (out.empty())
    return;
  if (hasPieces())
    loadRowMajor(matrix, state->reader, static_cast<int64_t>(offset / elementBytes),
                 static_cast<int64_t>((offset + out.size()) / elementBytes), out.data(), parallelFor);
  else
    loadPanels(state->constant, matrix, state->reader, out.data(), parallelFor);
  if (offset + out.size() == matrix.bytes)
    state->reader.releaseAll();
}

void loadConstant(const Constant &constant, const WeightFiles &files, std::span<std::byte> out,
                  const ParallelFor &parallelFor) {
  ConstantLoader loader(constant, files);
  if (out.size() != constant.bytes())
    throw Error("{} has {} bytes and was given {}", constantName(constant), constant.bytes(), out.size());
  loader.load(0, out, parallelFor);
}

} // namespace mlsys::rt
