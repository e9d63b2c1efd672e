//===- TileChoice.cpp - Tile sizes: measured, chosen, tried ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "TileChoice.h"

#include "mlsys/CodeGen/TileTable.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlsys;

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

namespace {
/// A size that a table says.
template <typename Tiles> struct Field {
  StringLiteral name;
  int64_t Tiles::*member;
};
} // namespace

static constexpr Field<DotTiles> dotFields[] = {
    {"rows", &DotTiles::rows},
    {"vectors", &DotTiles::vectors},
    {"row_block", &DotTiles::rowBlock},
    {"contracted_block", &DotTiles::contractedBlock},
    {"unroll", &DotTiles::unroll},
    {"prefetch", &DotTiles::prefetchBytes},
    {"column_parts", &DotTiles::columnParts},
};
static constexpr Field<AttentionTiles> attentionFields[] = {
    {"tokens", &AttentionTiles::tokens},
    {"rows", &AttentionTiles::rows},
    {"vectors", &AttentionTiles::vectors},
};

static ArrayRef<Field<DotTiles>> fieldsOf(const DotTiles &) { return dotFields; }
static ArrayRef<Field<AttentionTiles>> fieldsOf(const AttentionTiles &) { return attentionFields; }

template <typename Tiles> static std::string printTiles(const Tiles &tiles) {
  std::string text;
  for (const Field<Tiles> &field : fieldsOf(tiles))
    text += (text.empty() ? "" : " ") + field.name.str() + "=" + std::to_string(tiles.*field.member);
  return text;
}

/// Every field once; anything else is no tiles.
template <typename Tiles> static std::optional<Tiles> parseTiles(StringRef text, Tiles tiles) {
  SmallVector<StringRef> words;
  text.split(words, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  ArrayRef<Field<Tiles>> fields = fieldsOf(tiles);
  if (words.size() != fields.size())
    return std::nullopt;
  for (auto [word, field] : llvm::zip_equal(words, fields)) {
    auto [name, value] = word.split('=');
    if (name != field.name || value.getAsInteger(10, tiles.*field.member))
      return std::nullopt;
  }
  return tiles;
}

static std::string printType(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

static std::string printShape(const DotShape &shape) {
  return llvm::formatv("dot rows={0}{1} columns={2} contracted={3} dots={4} lhs={5} rhs={6}",
                       shape.rows, shape.rowsKnown ? "" : "?", shape.columns, shape.contracted,
                       shape.dots, printType(shape.lhsType), printType(shape.rhsType))
      .str();
}

static std::string printShape(const AttentionShape &shape) {
  return llvm::formatv("attention tokens={0}{1} heads_per_group={2} head_dim={3} key_block={4} "
                       "type={5}",
                       shape.tokens, shape.tokensKnown ? "" : "?", shape.headsPerGroup,
                       shape.headDim, shape.keyBlock, printType(shape.elementType))
      .str();
}

//===----------------------------------------------------------------------===//
// What is possible
//===----------------------------------------------------------------------===//

/// Sums, a row of the right side and an element of the left one are in registers.
static bool fitsRegisters(int64_t rows, int64_t vectors, const CpuTarget &target) {
  int64_t registers = target.vectorWidth == 16 ? 32 : 16;
  return rows >= 1 && vectors >= 1 && rows <= registers && vectors <= registers &&
         rows * vectors + vectors + 1 <= registers;
}

/// `rule` has the sizes that are not varied.
static bool isLegal(const DotTiles &tiles, const DotTiles &rule, const DotShape &shape,
                    const CpuTarget &target) {
  constexpr int64_t maxRowBlock = 1024, maxPrefetch = 64 << 10, step = 16;
  int64_t panels = llvm::divideCeil(shape.columns, panelColumns);
  if (tiles.product == CpuProduct::Amx) {
    if (tiles.rows != rule.rows || tiles.vectors != rule.vectors)
      return false;
  } else if (!fitsRegisters(tiles.rows, tiles.vectors, target) ||
             panelColumns % (tiles.vectors * tiles.width) != 0) {
    return false;
  }
  // Few rows are one block.
  if (rule.oneRowBlock && shape.rows == rule.rowBlock && tiles.rowBlock != rule.rowBlock)
    return false;
  bool wholeSteps = tiles.contractedBlock == shape.contracted ||
                    (tiles.contractedBlock > 0 && tiles.contractedBlock < shape.contracted &&
                     tiles.contractedBlock % step == 0 && tiles.product != CpuProduct::Amx);
  return tiles.rowBlock >= 1 && tiles.rowBlock <= maxRowBlock && wholeSteps && tiles.unroll >= 1 &&
         tiles.unroll <= 16 && tiles.prefetchBytes >= 0 && tiles.prefetchBytes <= maxPrefetch &&
         tiles.columnParts >= 0 && tiles.columnParts <= panels;
}

static bool isLegal(const AttentionTiles &tiles, const AttentionTiles &rule,
                    const AttentionShape &shape, const CpuTarget &target) {
  constexpr int64_t maxTokens = 128;
  bool decode = rule.tokens == 1 && shape.tokensKnown;
  return fitsRegisters(tiles.rows, tiles.vectors, target) && tiles.tokens >= 1 &&
         tiles.tokens <= (decode ? 1 : maxTokens);
}

/// Sizes that follow from others.
static void complete(DotTiles &tiles, const DotShape &shape) {
  tiles.oneRowBlock = shape.rowsKnown && shape.rows == tiles.rowBlock;
}
static void complete(AttentionTiles &, const AttentionShape &) {}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

namespace {
/// Other values of one size.
template <typename Tiles> struct Variation {
  int64_t Tiles::*member;
  SmallVector<int64_t> values;
};
} // namespace

static SmallVector<Variation<DotTiles>> variationsOf(const DotTiles &tiles, const DotShape &shape,
                                                     const CpuTarget &target) {
  SmallVector<int64_t> rowBlocks, blocks;
  for (int64_t groups : {1, 2, 4, 6, 8, 12, 16})
    rowBlocks.push_back(groups * tiles.rows);
  for (int64_t block : {256, 512, 1024, 2048, 4096})
    blocks.push_back(block);
  blocks.push_back(shape.contracted);
  return {{&DotTiles::rows, {1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14}},
          {&DotTiles::vectors, {1, 2, 4}},
          {&DotTiles::rowBlock, rowBlocks},
          {&DotTiles::contractedBlock, blocks},
          {&DotTiles::unroll, {1, 2, 4, 8}},
          {&DotTiles::prefetchBytes, {0, 1024, 2048, 4096, 8192, 16384}},
          {&DotTiles::columnParts, {0, 1, 2, 4, 8, 16, 32}}};
}

static SmallVector<Variation<AttentionTiles>>
variationsOf(const AttentionTiles &tiles, const AttentionShape &shape, const CpuTarget &target) {
  SmallVector<int64_t> tokens;
  for (int64_t rows : {12, 24, 36, 48, 72, 96, 144})
    tokens.push_back(std::max<int64_t>(1, rows / shape.headsPerGroup));
  return {{&AttentionTiles::tokens, tokens},
          {&AttentionTiles::rows, {1, 2, 3, 4, 6, 8, 10, 12, 14}},
          {&AttentionTiles::vectors, {1, 2, 4}}};
}

/// `base` and all that differ from it in one size.
template <typename Tiles, typename Shape>
static SmallVector<Tiles> getCandidates(const Tiles &base, const Tiles &rule, const Shape &shape,
                                        const CpuTarget &target) {
  SmallVector<Tiles> candidates{base};
  for (const Variation<Tiles> &variation : variationsOf(base, shape, target))
    for (int64_t value : variation.values) {
      Tiles tiles = base;
      tiles.*variation.member = value;
      complete(tiles, shape);
      bool known = llvm::any_of(candidates, [&](const Tiles &other) {
        return printTiles(other) == printTiles(tiles);
      });
      if (!known && isLegal(tiles, rule, shape, target))
        candidates.push_back(tiles);
    }
  return candidates;
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

template <typename Tiles, typename Shape>
static Tiles choose(const Tiles &rule, const Shape &shape, const CpuTarget &target,
                    kernel::FuncOp kernel) {
  std::string name = printShape(shape);
  Tiles tiles = rule;
  if (const std::string *text = target.tiles ? target.tiles->find(name) : nullptr) {
    std::optional<Tiles> measured = parseTiles(*text, rule);
    if (measured)
      complete(*measured, shape);
    if (measured && isLegal(*measured, rule, shape, target))
      tiles = *measured;
    else
      kernel.emitWarning("the table of tiles has '")
          << *text << "' for '" << name << "', which is not possible; it is not used";
  }
  if (target.candidate > 0) {
    SmallVector<Tiles> candidates = getCandidates(tiles, rule, shape, target);
    if (target.candidate < static_cast<int64_t>(candidates.size()))
      tiles = candidates[target.candidate];
  }
  kernel->setAttr(kernel::tilesAttrName,
                  StringAttr::get(kernel.getContext(), name + ": " + printTiles(tiles)));
  return tiles;
}

DotTiles mlsys::chooseDotTiles(const DotShape &shape, const CpuTarget &target,
                               kernel::FuncOp kernel) {
  return choose(selectDotTiles(shape, target), shape, target, kernel);
}

AttentionTiles mlsys::chooseAttentionTiles(const AttentionShape &shape, const CpuTarget &target,
                                           kernel::FuncOp kernel) {
  return choose(selectAttentionTiles(shape, target), shape, target, kernel);
}
