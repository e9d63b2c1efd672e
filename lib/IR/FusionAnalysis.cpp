//===- FusionAnalysis.cpp - The structure of a fusion's body --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/FusionAnalysis.h"

#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

StringRef mlsys::graph::stringifyFusionKind(FusionKind kind) {
  switch (kind) {
  case FusionKind::Loop:
    return "loop";
  case FusionKind::Row:
    return "row";
  case FusionKind::Dot:
    return "dot";
  case FusionKind::Attention:
    return "attention";
  }
  llvm_unreachable("every kind has a name");
}

std::optional<FusionKind> mlsys::graph::symbolizeFusionKind(StringRef name) {
  for (FusionKind kind :
       {FusionKind::Loop, FusionKind::Row, FusionKind::Dot, FusionKind::Attention})
    if (stringifyFusionKind(kind) == name)
      return kind;
  return std::nullopt;
}

bool mlsys::graph::isDot(Operation *op) { return isa<DotOp, ExpertDotOp>(op); }

Value mlsys::graph::getLeft(Operation *dot) { return dot->getOperand(0); }

Value mlsys::graph::getRight(Operation *dot) { return dot->getOperand(1); }

int64_t mlsys::graph::getColumns(Operation *dot) {
  auto type = cast<RankedTensorType>(getRight(dot).getType());
  return type.getDimSize(type.getRank() - 2);
}

Value mlsys::graph::behindReshapes(Value value) {
  while (auto reshape = value.getDefiningOp<ReshapeOp>())
    value = reshape.getInput();
  return value;
}

bool mlsys::graph::isIndexable(Operation *op) {
  return isElementwise(op) || isa<ConstantOp, BroadcastOp, ReshapeOp, TransposeOp, SliceOp,
                                  ConcatOp, GatherOp, IotaOp, LastTokenOp>(op);
}

Value mlsys::graph::getStoredValue(Value yielded) {
  if (auto write = yielded.getDefiningOp<CacheWriteOp>())
    return write.getInput();
  return yielded;
}

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// The product of the extents from `first` to the last.
static DimExpr trailingProduct(ArrayRef<DimExpr> dims, int64_t first) {
  DimExpr product = DimExpr::constant(1);
  for (const DimExpr &dim : dims.drop_front(first))
    product = product * dim;
  return product;
}

/// The first dimension that an operation that moves data touches: before it,
/// result and operand `operand` have the same extents at the same places.
/// Nothing when it does not keep leading dimensions (gather, last_token, iota).
static std::optional<int64_t> firstTouchedDim(Operation *op, Value operand) {
  return llvm::TypeSwitch<Operation *, std::optional<int64_t>>(op)
      .Case([&](SliceOp slice) -> std::optional<int64_t> {
        RankedTensorType from = typeOf(slice.getInput()), to = typeOf(slice.getResult());
        int64_t dim = 0;
        while (dim < from.getRank() && getDim(from, dim) == getDim(to, dim))
          ++dim;
        return dim;
      })
      .Case([&](TransposeOp transpose) -> std::optional<int64_t> {
        ArrayRef<int64_t> permutation = transpose.getPermutation();
        int64_t dim = 0;
        while (dim < static_cast<int64_t>(permutation.size()) && permutation[dim] == dim)
          ++dim;
        return dim;
      })
      .Case([&](ConcatOp concat) -> std::optional<int64_t> { return concat.getDim(); })
      .Case([&](BroadcastOp broadcast) -> std::optional<int64_t> {
        // Only new dimensions after the old ones.
        RankedTensorType from = typeOf(broadcast.getInput()), to = typeOf(broadcast.getResult());
        for (auto [index, dim] : llvm::enumerate(broadcast.getDims()))
          if (static_cast<int64_t>(index) != dim || getDim(from, index) != getDim(to, dim))
            return std::nullopt;
        return from.getRank();
      })
      .Default([](Operation *) { return std::nullopt; });
}

namespace {
/// How a value relates to groups of columns of the dots: element e of the
/// value reads only the group of `group` columns that has number e / width (in
/// row-major order over all rows).
struct Mixing {
  int64_t group = 1, width = 1;
};

class Analysis {
public:
  Analysis(ArrayRef<Operation *> ops, ArrayRef<Value> outputs)
      : ops(ops), outputs(outputs), members(ops.begin(), ops.end()) {}

  FailureOr<FusionStructure> run(FusionKind kind) {
    structure.kind = kind;
    LogicalResult result = failure();
    if (outputs.empty())
      result = fail("nothing is stored");
    else if (!llvm::all_of(outputs, isStorable))
      result = fail("an output is neither a tensor nor made by graph.cache_write");
    else if (kind == FusionKind::Loop)
      result = analyzeLoop();
    else if (kind == FusionKind::Row)
      result = analyzeRow();
    else if (kind == FusionKind::Dot)
      result = analyzeDot();
    else
      result = analyzeAttention();
    if (failed(result))
      return failure();
    return std::move(structure);
  }

  std::string reason;

private:
  LogicalResult fail(const Twine &text) {
    reason = text.str();
    return failure();
  }

  static bool isStorable(Value output) {
    return isa<RankedTensorType>(output.getType()) || output.getDefiningOp<CacheWriteOp>();
  }
  bool isInside(Value value) const { return members.contains(value.getDefiningOp()); }

  LogicalResult analyzeLoop();
  LogicalResult analyzeRow();
  LogicalResult analyzeDot();
  LogicalResult analyzeAttention();

  LogicalResult collectReductions(ArrayRef<Operation *> from);
  LogicalResult alignRows(ArrayRef<Operation *> from, llvm::DenseSet<Value> &tainted);
  LogicalResult checkRowOutput(Value stored);
  LogicalResult collectDots();
  LogicalResult collectExpertDot(ExpertDotOp dot);
  LogicalResult mixColumns(Operation *op, llvm::DenseMap<Value, Mixing> &mixing);
  LogicalResult groupDots(const llvm::DenseMap<Value, Mixing> &mixing);
  /// The operations inside that `root` depends on.
  llvm::SetVector<Operation *> backwardSlice(Value root) const;

  ArrayRef<Operation *> ops;
  ArrayRef<Value> outputs;
  llvm::DenseSet<Operation *> members;
  FusionStructure structure;
  SmallVector<Operation *> dots;
};
} // namespace

llvm::SetVector<Operation *> Analysis::backwardSlice(Value root) const {
  llvm::SetVector<Operation *> slice;
  SmallVector<Value> work{root};
  while (!work.empty()) {
    Operation *op = work.pop_back_val().getDefiningOp();
    if (op && members.contains(op) && slice.insert(op))
      work.append(op->operand_begin(), op->operand_end());
  }
  return slice;
}

//===----------------------------------------------------------------------===//
// loop
//===----------------------------------------------------------------------===//

LogicalResult Analysis::analyzeLoop() {
  for (Operation *op : ops)
    if (!isIndexable(op) && !isa<CacheWriteOp>(op))
      return fail(op->getName().getStringRef() + " is not indexable");
  RankedTensorType first = typeOf(getStoredValue(outputs.front()));
  structure.domain = getDims(first);
  for (Value output : outputs.drop_front())
    if (getNumElements(typeOf(getStoredValue(output))) != getNumElements(first))
      return fail("outputs have " + getNumElements(first).str() + " and " +
                  getNumElements(typeOf(getStoredValue(output))).str() + " elements");
  return success();
}

//===----------------------------------------------------------------------===//
// row
//===----------------------------------------------------------------------===//

LogicalResult Analysis::collectReductions(ArrayRef<Operation *> from) {
  for (Operation *op : from) {
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce)
      continue;
    RankedTensorType type = typeOf(reduce.getInput());
    if (reduce.getDims().size() != 1 || reduce.getDims()[0] != type.getRank() - 1)
      return fail("a reduction is not over the last dimension alone");
    SmallVector<DimExpr> dims = getDims(type);
    DimExpr rows = trailingProduct(ArrayRef(dims).drop_back(), 0);
    if (structure.reductions.empty()) {
      structure.rows = rows;
      structure.domain.assign(dims.begin(), dims.end() - 1);
    } else if (rows != structure.rows) {
      return fail("reductions over " + structure.rows.str() + " and " + rows.str() + " rows");
    }
    structure.reductions.push_back(reduce);
  }
  return success();
}

/// Finds the values that depend on reductions and checks that each element
/// of them reads reductions of its own row only.
LogicalResult Analysis::alignRows(ArrayRef<Operation *> from, llvm::DenseSet<Value> &tainted) {
  for (Operation *op : from) {
    if (isa<ReduceOp>(op)) {
      tainted.insert(op->getResult(0));
      continue;
    }
    for (Value operand : op->getOperands()) {
      if (!tainted.contains(operand))
        continue;
      if (!isElementwise(op) && !isa<ReshapeOp, CacheWriteOp>(op)) {
        std::optional<int64_t> touched = firstTouchedDim(op, operand);
        SmallVector<DimExpr> dims = getDims(typeOf(operand));
        // The dimensions before the first one touched must hold whole rows.
        DimExpr leading = DimExpr::constant(1);
        bool aligned = false;
        for (int64_t dim = 0; touched && dim <= *touched; ++dim) {
          aligned |= leading == structure.rows;
          if (dim < static_cast<int64_t>(dims.size()))
            leading = leading * dims[dim];
        }
        if (!aligned)
          return fail(op->getName().getStringRef() + " moves a reduced value across rows");
      }
      tainted.insert(op->getResult(0));
      break;
    }
  }
  return success();
}

/// An output holds whole rows.
LogicalResult Analysis::checkRowOutput(Value stored) {
  if (!getNumElements(typeOf(stored)).divideBy(structure.rows))
    return fail("an output of " + getNumElements(typeOf(stored)).str() +
                " elements does not divide into " + structure.rows.str() + " rows");
  return success();
}

LogicalResult Analysis::analyzeRow() {
  for (Operation *op : ops)
    if (!isIndexable(op) && !isa<CacheWriteOp, ReduceOp>(op))
      return fail(op->getName().getStringRef() + " is neither indexable nor a reduction");
  if (failed(collectReductions(ops)))
    return failure();
  if (structure.reductions.empty())
    return fail("there is no reduction");
  llvm::DenseSet<Value> tainted;
  if (failed(alignRows(ops, tainted)))
    return failure();
  for (Value output : outputs)
    if (failed(checkRowOutput(getStoredValue(output))))
      return failure();
  return success();
}

//===----------------------------------------------------------------------===//
// dot
//===----------------------------------------------------------------------===//

LogicalResult Analysis::collectExpertDot(ExpertDotOp dot) {
  if (structure.experts && structure.experts != dot.getExperts())
    return fail("products choose different experts");
  if (isInside(behindReshapes(dot.getLhs())))
    return fail("the left side of a product with experts is computed in the same kernel");
  if (isInside(behindReshapes(dot.getExperts())))
    return fail("experts are chosen in the same kernel");
  RankedTensorType experts = typeOf(dot.getExperts());
  if (experts.isDynamicDim(experts.getRank() - 1))
    return fail("the number of experts of a token is no number");
  structure.experts = dot.getExperts();
  structure.numExperts = typeOf(dot.getRhs()).getDimSize(0);
  structure.rowsPerLeft = dot.hasRowPerExpert() ? 1 : experts.getShape().back();
  return success();
}

LogicalResult Analysis::collectDots() {
  bool plain = false;
  for (Operation *op : ops) {
    if (!isDot(op))
      continue;
    RankedTensorType lhs = typeOf(getLeft(op)), rhs = typeOf(getRight(op));
    if (auto dot = dyn_cast<DotOp>(op)) {
      plain = true;
      if (!dot.getLhsBatch().empty())
        return fail("a dot has batch dimensions");
      if (dot.getLhsContract() != ArrayRef<int64_t>{lhs.getRank() - 1} || rhs.getRank() != 2 ||
          dot.getRhsContract() != ArrayRef<int64_t>{1})
        return fail("a dot does not contract the last dimension with that of a matrix");
    }
    if (!rhs.hasStaticShape())
      return fail("a dot's right side has a dynamic extent");
    if (isInside(getRight(op)))
      return fail("a dot's right side is computed in the same kernel");
    if (structure.lhs && structure.lhs != getLeft(op))
      return fail("dots have different left sides");
    if (auto dot = dyn_cast<ExpertDotOp>(op); dot && failed(collectExpertDot(dot)))
      return failure();
    structure.lhs = getLeft(op);
    structure.contracted = rhs.getShape().back();
    dots.push_back(op);
  }
  if (dots.empty())
    return fail("there is no dot");
  if (plain && structure.experts)
    return fail("a dot and a product with experts have different rows");
  return success();
}

/// Extends `mixing` over one operation of the epilogue.
LogicalResult Analysis::mixColumns(Operation *op, llvm::DenseMap<Value, Mixing> &mixing) {
  std::optional<Mixing> result;
  for (Value operand : op->getOperands()) {
    auto it = mixing.find(operand);
    if (it == mixing.end())
      continue;
    Mixing state = it->second;
    if (!isElementwise(op) && !isa<ReshapeOp, CacheWriteOp>(op)) {
      // Whole blocks of the touched dimensions become one group each.
      std::optional<int64_t> touched = firstTouchedDim(op, operand);
      if (!touched)
        return fail(op->getName().getStringRef() + " of a dot's result");
      SmallVector<DimExpr> from = getDims(typeOf(operand)), to = getDims(typeOf(op->getResult(0)));
      std::optional<int64_t> before = trailingProduct(from, *touched).asConstant();
      std::optional<int64_t> after = trailingProduct(to, *touched).asConstant();
      if (!before || !after)
        return fail(op->getName().getStringRef() + " mixes rows of a dot's result");
      if (*before % state.width != 0 && state.width % *before != 0)
        return fail(op->getName().getStringRef() + " mixes uneven groups of columns");
      if (*before > state.width) {
        state.group *= *before / state.width;
        state.width = *after;
      } else {
        // The groups are already larger than what moves: they keep their size.
        state.width = state.width / *before * *after;
      }
    }
    if (!result) {
      result = state;
      continue;
    }
    if (isa<ConcatOp>(op)) {
      if (result->group != state.group)
        return fail("concat of dots with different groups of columns");
      continue; // The width is that of the whole block for each operand.
    }
    // The same element of operands of the same shape: the larger group wins.
    const Mixing &larger = result->group >= state.group ? *result : state;
    const Mixing &smaller = result->group >= state.group ? state : *result;
    if (larger.group % smaller.group != 0 ||
        larger.width * smaller.group != smaller.width * larger.group)
      return fail("an operation combines uneven groups of columns");
    result = larger;
  }
  if (result)
    mixing[op->getResult(0)] = *result;
  return success();
}

/// Puts dots that share an output into one group.
LogicalResult Analysis::groupDots(const llvm::DenseMap<Value, Mixing> &mixing) {
  llvm::EquivalenceClasses<Operation *> classes;
  for (Operation *dot : dots)
    classes.insert(dot);
  SmallVector<SmallVector<Operation *>> readBy;
  for (Value output : outputs) {
    Value stored = getStoredValue(output);
    llvm::SetVector<Operation *> slice = backwardSlice(stored);
    SmallVector<Operation *> &read = readBy.emplace_back();
    for (Operation *dot : dots)
      if (slice.contains(dot))
        read.push_back(dot);
    if (read.empty())
      return fail("an output does not depend on a dot");
    for (Operation *dot : ArrayRef(read).drop_front())
      classes.unionSets(read.front(), dot);
  }
  llvm::DenseMap<Operation *, unsigned> groupOf;
  for (Operation *dot : dots) {
    Operation *leader = classes.getLeaderValue(dot);
    auto [it, isNew] = groupOf.try_emplace(leader, structure.groups.size());
    if (isNew)
      structure.groups.emplace_back().columns = getColumns(dot);
    DotGroup &group = structure.groups[it->second];
    if (group.columns != getColumns(dot))
      return fail("an output combines dots of different widths");
    group.dots.push_back(dot);
  }
  for (auto [index, output] : llvm::enumerate(outputs)) {
    Value stored = getStoredValue(output);
    DotGroup &group = structure.groups[groupOf[classes.getLeaderValue(readBy[index].front())]];
    group.outputs.push_back(index);
    Mixing state = mixing.lookup(stored);
    if (getNumElements(typeOf(stored)) !=
            structure.rows * DimExpr::constant(group.columns) ||
        state.group != state.width)
      return fail("an output is not made of the dot's rows and columns");
    if (group.columns % state.group != 0 ||
        (state.group % group.mixing != 0 && group.mixing % state.group != 0))
      return fail("columns do not divide into groups of " + Twine(state.group));
    group.mixing = std::max(group.mixing, state.group);
  }
  for (const DotGroup &group : structure.groups)
    if (group.outputs.empty())
      return fail("a dot is not used");
  return success();
}

LogicalResult Analysis::analyzeDot() {
  if (failed(collectDots()))
    return failure();
  // The leading extents of the results.
  SmallVector<DimExpr> dims = getDims(typeOf(structure.experts ? structure.experts : structure.lhs));
  if (!structure.experts)
    dims.pop_back();
  DimExpr rows = trailingProduct(dims, 0);

  // The prologue.
  llvm::SetVector<Operation *> slice = backwardSlice(structure.lhs);
  SmallVector<Operation *> prologue;
  for (Operation *op : ops)
    if (slice.contains(op))
      prologue.push_back(op);
  for (Operation *op : prologue)
    if (!isIndexable(op) && !isa<ReduceOp>(op))
      return fail(op->getName().getStringRef() + " cannot be in a dot's prologue");
  if (failed(collectReductions(prologue)))
    return failure();
  llvm::DenseSet<Value> reduced;
  if (!structure.reductions.empty()) {
    if (structure.rows != rows)
      return fail("the prologue reduces " + structure.rows.str() + " rows but the dot has " +
                  rows.str());
    if (failed(alignRows(prologue, reduced)))
      return failure();
  }
  structure.rows = rows;
  structure.domain = dims;

  // The epilogue.
  llvm::DenseMap<Value, Mixing> mixing;
  for (Operation *dot : dots)
    mixing[dot->getResult(0)] = Mixing();
  for (Operation *op : ops) {
    if (isDot(op) || slice.contains(op))
      continue;
    if (!isIndexable(op) && !isa<CacheWriteOp>(op))
      return fail(op->getName().getStringRef() + " cannot be in a dot's epilogue");
    for (Value operand : op->getOperands())
      if (reduced.contains(operand))
        return fail("the epilogue reads a reduction of the prologue");
    if (failed(mixColumns(op, mixing)))
      return failure();
  }
  return groupDots(mixing);
}

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

LogicalResult Analysis::analyzeAttention() {
  for (Operation *op : ops) {
    if (isa<ReshapeOp>(op))
      continue;
    if (!isa<AttentionOp, PagedAttentionOp>(op))
      return fail(op->getName().getStringRef() + " cannot be fused with attention");
    if (structure.hero)
      return fail("there are two attentions");
    structure.hero = op;
  }
  if (!structure.hero)
    return fail("there is no attention");
  if (outputs.size() != 1)
    return fail("attention has one output");
  Value output = outputs.front();
  while (auto reshape = output.getDefiningOp<ReshapeOp>()) {
    if (!isInside(output))
      break;
    output = reshape.getInput();
  }
  if (output != structure.hero->getResult(0))
    return fail("the output is not the attention's");
  structure.domain = getDims(typeOf(structure.hero->getResult(0)));
  structure.domain.pop_back();
  structure.rows = trailingProduct(structure.domain, 0);
  return success();
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

FailureOr<FusionStructure> mlsys::graph::analyzeOps(ArrayRef<Operation *> ops,
                                                    ArrayRef<Value> outputs, FusionKind kind,
                                                    std::string *reason) {
  Analysis analysis(ops, outputs);
  FailureOr<FusionStructure> structure = analysis.run(kind);
  if (failed(structure) && reason)
    *reason = analysis.reason;
  return structure;
}

FailureOr<FusionStructure> mlsys::graph::analyzeFusion(Block &body, FusionKind kind,
                                                       std::string *reason) {
  SmallVector<Operation *> ops;
  for (Operation &op : body.without_terminator())
    ops.push_back(&op);
  SmallVector<Value> outputs(body.getTerminator()->getOperands());
  return analyzeOps(ops, outputs, kind, reason);
}

FailureOr<FusionStructure> mlsys::graph::analyzeFusion(FusionOp fusion) {
  std::string reason;
  FusionKind kind = *symbolizeFusionKind(fusion.getKind());
  FailureOr<FusionStructure> structure =
      analyzeFusion(fusion.getBody().front(), kind, &reason);
  if (failed(structure))
    return fusion.emitOpError("is no ") << fusion.getKind() << " body: " << reason;
  return structure;
}
