//===- CudaTranspose.cpp - Transposes through shared memory ---------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A block does a tile of 64 x 64 elements. It computes what is transposed in the order in which it lies in memory and
// puts it into shared memory, then the outputs in theirs: both sides move vectors of neighbours. A row of the tile in
// shared memory is one 32-bit word longer than a multiple of 32 words, so that rows start in different banks. A warp
// has 32 / w vectors of w words side by side and w rows: the words that it writes, or reads, at a time lie in 32
// different banks.
//
//===----------------------------------------------------------------------===//

#include "CudaTranspose.h"

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static constexpr int64_t side = 64, threads = 256, warpSize = 32;
/// Extents below this leave most of a tile empty.
static constexpr int64_t minExtent = 16;
static constexpr int64_t maxSharedBytes = 96 << 10;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

//===----------------------------------------------------------------------===//
// The plan
//===----------------------------------------------------------------------===//

static DimExpr productOf(RankedTensorType type, ArrayRef<int64_t> dims) {
  DimExpr product = DimExpr::constant(1);
  for (int64_t dim : dims)
    product = product * getDim(type, dim);
  return product;
}

/// The dimensions of a transpose's result that end at `end` and are neighbours, in this order, of the input, too.
/// Dimensions of extent 1 do not count.
static SmallVector<int64_t> findRun(TransposeOp transpose, int64_t end) {
  RankedTensorType type = typeOf(transpose.getResult()), from = typeOf(transpose.getInput());
  ArrayRef<int64_t> order = transpose.getPermutation();
  auto before = [](RankedTensorType shape, int64_t dim) {
    do
      --dim;
    while (dim >= 0 && getDim(shape, dim).asConstant() == 1);
    return dim;
  };
  SmallVector<int64_t> run{end};
  for (int64_t dim = before(type, end), source = before(from, order[end]);
       dim >= 0 && source >= 0 && order[dim] == source; dim = before(type, dim), source = before(from, source))
    run.insert(run.begin(), dim);
  return run;
}

/// Whether outputs read `value` at the same place of the row-major order only: through reshapes and elementwise operations.
static bool isReadInPlace(Value value) {
  llvm::DenseSet<Operation *> seen;
  SmallVector<Value> work{value};
  while (!work.empty())
    for (Operation *user : work.pop_back_val().getUsers()) {
      if (isa<YieldOp>(user) || !seen.insert(user).second)
        continue;
      if (!isElementwise(user) && !isa<ReshapeOp>(user))
        return false;
      work.push_back(user->getResult(0));
    }
  return true;
}

static std::optional<CudaTranspose> planOne(TransposeOp transpose, FusionOp fusion) {
  RankedTensorType type = typeOf(transpose.getResult());
  ArrayRef<int64_t> order = transpose.getPermutation();
  int64_t inner = type.getRank() - 1, last = type.getRank() - 1;
  // The last dimensions that are not 1, in memory before and afterwards.
  while (inner >= 0 && getDim(typeOf(transpose.getInput()), inner).asConstant() == 1)
    --inner;
  while (last >= 0 && getDim(type, last).asConstant() == 1)
    --last;
  if (inner < 0 || last < 0 || order[last] == inner)
    return std::nullopt;
  CudaTranspose plan;
  plan.transposes = {transpose};
  plan.from = findRun(transpose, llvm::find(order, inner) - order.begin());
  plan.to = findRun(transpose, last);
  plan.fromExtent = productOf(type, plan.from);
  plan.toExtent = productOf(type, plan.to);
  for (const DimExpr &extent : {plan.fromExtent, plan.toExtent})
    if (evaluateAtHints(extent, fusion) < minExtent)
      return std::nullopt;
  return plan;
}

/// The type of a tile's elements: as in memory when it is only copied, and as it is computed otherwise.
static Type tileElement(TransposeOp transpose) {
  Value input = transpose.getInput();
  if (auto argument = dyn_cast<BlockArgument>(behindReshapes(input)))
    return getBufferType(argument.getType()).getElementType();
  return getComputeType(typeOf(input).getElementType());
}

static int64_t bytesOf(Type element) { return std::max<int64_t>(1, getElementBits(element) / 8); }

/// From one row of a tile to the next, in elements.
static int64_t pitchOf(Type element) {
  int64_t bytes = bytesOf(element), words = std::max<int64_t>(side * bytes / 4, warpSize);
  return bytes < 4 ? (words + 1) * 4 / bytes : side + 1;
}

static int64_t tileBytes(Type element) { return llvm::alignTo(side * pitchOf(element) * bytesOf(element), 16); }

std::optional<CudaTranspose> mlsys::planCudaTranspose(FusionOp fusion) {
  Block &body = fusion.getBody().front();
  if (!body.getOps<CacheWriteOp>().empty())
    return std::nullopt;
  std::optional<CudaTranspose> plan;
  int64_t bytes = 0;
  for (auto transpose : body.getOps<TransposeOp>()) {
    int64_t more = tileBytes(tileElement(transpose));
    if (!isReadInPlace(transpose.getResult()) || bytes + more > maxSharedBytes)
      continue;
    if (!plan) {
      plan = planOne(transpose, fusion);
      bytes = plan ? more : 0;
    } else if (transpose.getPermutation() == plan->transposes.front().getPermutation() &&
               getDims(typeOf(transpose.getResult())) == getDims(typeOf(plan->transposes.front().getResult()))) {
      plan->transposes.push_back(transpose);
      bytes += more;
    }
  }
  return plan;
}

//===----------------------------------------------------------------------===//
// The kernel
//===----------------------------------------------------------------------===//

namespace {
/// Where the vectors of a side of the tile are: `lanes` of them beside each other in a warp.
struct Side {
  int64_t width, lanes;

  Side(int64_t width, int64_t words) : width(width), lanes(std::min(warpSize / std::max<int64_t>(1, words), side / width)) {}
  /// Steps in which all threads cover the tile.
  int64_t steps() const { return side * side / (width * threads); }
};

class TransposeTiles {
public:
  TransposeTiles(KernelBuilder &kernel, const CudaTranspose &plan)
      : kernel(kernel), builder(kernel.builder), loc(kernel.loc), plan(plan), emitter(kernel), math(emitter.index()),
        type(typeOf(TransposeOp(plan.transposes.front()).getResult())) {}

  LogicalResult run(LaunchShape &launch);

private:
  /// The place of step `step` of this thread in the tile: along the vectors, and across.
  std::pair<Value, Value> placeOf(const Side &side, int64_t step);
  /// The indices of element (from, to) of the tile's plane.
  SmallVector<Value> indicesOf(Value from, Value to);
  void fill();
  void store();

  KernelBuilder &kernel;
  OpBuilder &builder;
  Location loc;
  const CudaTranspose &plan;
  ElementEmitter emitter;
  IndexMath &math;
  /// Of the transposes' results.
  RankedTensorType type;
  Value thread, fromBase, toBase, fromExtent, toExtent;
  /// The indices of the other dimensions.
  SmallVector<Value> indices;
  SmallVector<Value> tiles;
};
} // namespace

std::pair<Value, Value> TransposeTiles::placeOf(const Side &vectors, int64_t step) {
  // A warp: `lanes` vectors side by side, 32 / lanes rows. Then more vectors, then more rows.
  int64_t across = warpSize / vectors.lanes, perRow = side / (vectors.width * vectors.lanes);
  Value lane = math.mod(thread, warpSize), group = math.add(math.div(thread, warpSize), step * (threads / warpSize));
  Value along = math.mul(math.add(math.mul(math.mod(group, perRow), vectors.lanes), math.mod(lane, vectors.lanes)), vectors.width);
  return {along, math.add(math.mul(math.div(group, perRow), across), math.div(lane, vectors.lanes))};
}

SmallVector<Value> TransposeTiles::indicesOf(Value from, Value to) {
  SmallVector<Value> result(indices);
  auto split = [&](Value linear, ArrayRef<int64_t> dims) {
    for (int64_t dim : llvm::reverse(dims)) {
      if (dim == dims.front()) {
        result[dim] = linear;
        break;
      }
      Value extent = kernel.extent(getDim(type, dim));
      result[dim] = math.mod(linear, extent);
      linear = math.div(linear, extent);
    }
  };
  split(from, plan.from);
  split(to, plan.to);
  return result;
}

/// Brings the tile of every transposed value to shared memory, a row of it for each element of the outputs' side.
void TransposeTiles::fill() {
  for (auto [transpose, tile] : llvm::zip_equal(plan.transposes, tiles)) {
    Value input = TransposeOp(transpose).getInput();
    Type element = cast<MemRefType>(tile.getType()).getElementType();
    int64_t bytes = bytesOf(element), width = 1;
    if (bytes < 8)
      width = std::min<int64_t>(16 / bytes, cudaVectorWidth(emitter, {input}, lastExtent(input)));
    Side vectors(width, width * bytes / 4);
    SmallVector<Value> places, values;
    for (int64_t step = 0; step < vectors.steps(); ++step) {
      auto [along, across] = placeOf(vectors, step);
      Value from = math.add(fromBase, along), to = math.add(toBase, across);
      // A vector beyond the end reads the last one.
      from = math.min(from, math.sub(fromExtent, math.constant(width)));
      to = math.min(to, math.sub(toExtent, math.constant(1)));
      SmallVector<Value> result = indicesOf(from, to), source(result.size());
      for (auto [position, dim] : llvm::enumerate(TransposeOp(transpose).getPermutation()))
        source[dim] = result[position];
      values.push_back(emitter.emit(input, source, width));
      places.push_back(math.join(across, math.constant(pitchOf(element)), along));
    }
    for (auto [place, value] : llvm::zip_equal(places, values))
      for (int64_t lane = 0; lane < width; ++lane)
        emitter.store(width == 1 ? value : Value(vector::ExtractOp::create(builder, loc, value, lane)), tile,
                      math.add(place, lane));
  }
}

void TransposeTiles::store() {
  int64_t width = 8;
  SmallVector<Value> stored = storedValues(kernel);
  // In place of the transposes stand vectors out of shared memory.
  Value along, across;
  for (auto [transpose, tile] : llvm::zip_equal(plan.transposes, tiles)) {
    Type element = cast<MemRefType>(tile.getType()).getElementType();
    int64_t bytes = bytesOf(element), pitch = pitchOf(element);
    width = std::min<int64_t>(width, bytes < 8 ? 16 / bytes : 1);
    emitter.bind(TransposeOp(transpose).getResult(), [&, tile, pitch](ValueRange, int64_t lanes) -> Value {
      SmallVector<Value> elements;
      for (int64_t lane = 0; lane < lanes; ++lane)
        elements.push_back(emitter.load(tile, math.join(math.add(along, lane), math.constant(pitch), across), 1));
      if (lanes == 1)
        return elements.front();
      return vector::FromElementsOp::create(builder, loc, VectorType::get({lanes}, elements.front().getType()), elements);
    });
  }
  int64_t factor = plan.toExtent.commonFactor();
  for (Value value : stored)
    width = std::min(width, cudaVectorWidth(emitter, {value}, std::gcd(factor, lastExtent(value))));
  Side vectors(width, width);
  for (int64_t step = 0; step < vectors.steps(); ++step) {
    std::tie(along, across) = placeOf(vectors, step);
    Value from = math.add(fromBase, across), to = math.add(toBase, along);
    Value inside = arith::AndIOp::create(builder, loc, math.less(from, fromExtent), math.less(to, toExtent));
    storeInside(kernel, inside, [&] {
      Value linear = emitter.linearize(indicesOf(from, to), type);
      for (unsigned output = 0; output < stored.size(); ++output)
        storeOutput(emitter, kernel, output, linear, width);
    });
  }
}

LogicalResult TransposeTiles::run(LaunchShape &launch) {
  Value block = kernel::BlockIdOp::create(builder, loc, builder.getIndexType(), 0);
  thread = kernel::ThreadIdOp::create(builder, loc, builder.getIndexType());
  fromExtent = kernel.extent(plan.fromExtent);
  toExtent = kernel.extent(plan.toExtent);
  // Blocks that follow each other go along the outputs.
  Value toTiles = math.ceilDiv(toExtent, side), fromTiles = math.ceilDiv(fromExtent, side);
  toBase = math.mul(math.mod(block, toTiles), side);
  Value rest = math.div(block, toTiles);
  fromBase = math.mul(math.mod(rest, fromTiles), side);
  rest = math.div(rest, fromTiles);
  DimExpr others = DimExpr::constant(1);
  indices.assign(type.getRank(), math.constant(0));
  SmallVector<int64_t> batch;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (!llvm::is_contained(plan.from, dim) && !llvm::is_contained(plan.to, dim) && getDim(type, dim).asConstant() != 1)
      batch.push_back(dim);
  for (int64_t dim : llvm::reverse(batch)) {
    others = others * getDim(type, dim);
    Value extent = kernel.extent(getDim(type, dim));
    indices[dim] = dim == batch.front() ? rest : math.mod(rest, extent);
    rest = dim == batch.front() ? rest : math.div(rest, extent);
  }
  int64_t offset = 0;
  for (TransposeOp transpose : plan.transposes) {
    Type element = tileElement(transpose);
    tiles.push_back(kernel::SharedOp::create(builder, loc, MemRefType::get({side * pitchOf(element)}, element), offset));
    offset += tileBytes(element);
  }
  emitGridWait(kernel);
  fill();
  kernel::BarrierOp::create(builder, loc);
  store();

  AffineExpr one = getAffineConstantExpr(1, builder.getContext());
  launch.grid = {toLaunchExpr(kernel.fusion, plan.toExtent).ceilDiv(side) *
                     toLaunchExpr(kernel.fusion, plan.fromExtent).ceilDiv(side) * toLaunchExpr(kernel.fusion, others),
                 one, one};
  launch.block = {static_cast<int32_t>(threads), 1, 1};
  launch.sharedBytes = offset;
  return failure(kernel.failed);
}

LogicalResult mlsys::lowerTransposeForCuda(KernelBuilder &kernel, const CudaTranspose &plan, LaunchShape &launch) {
  return TransposeTiles(kernel, plan).run(launch);
}
