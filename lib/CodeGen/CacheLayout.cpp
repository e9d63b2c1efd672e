//===- CacheLayout.cpp - Where keys and values lie in a page --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "mlsys/CodeGen/CacheLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Value CacheLayout::address(IndexMath &math, CachePart part, Value page, Value head, Value row,
                           Value dim) const {
  Value inPage = math.add(math.mul(head, headElements()),
                          math.add(math.mul(row, rowStride(part)), math.mul(dim, dimStride(part))));
  return math.add(math.mul(page, pageElements()), math.add(inPage, partOffset(part)));
}

void mlsys::emitCacheStore(ElementEmitter &emitter, KernelBuilder &kernel, CacheWriteOp write,
                           Value element, ValueRange indices, int64_t width) {
  OpBuilder &builder = kernel.builder;
  Location loc = kernel.loc;
  IndexMath &math = emitter.index();
  Value slot = arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                          emitter.emit(write.getSlots(), {indices[0]}, 1));
  Value wanted = arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, slot, math.constant(0));
  auto guard = scf::IfOp::create(builder, loc, wanted, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard restore(builder);
  builder.setInsertionPointToStart(guard.thenBlock());

  Value layer = write.getLayer();
  while (auto earlier = layer.getDefiningOp<CacheWriteOp>())
    layer = earlier.getLayer();
  Value buffer = kernel.bufferOf(cast<BlockArgument>(layer));
  KvLayerType type = cast<KvLayerType>(layer.getType());
  CacheLayout layout(type, kernel.function.isCpu());
  Value page = math.div(slot, type.getPageSize()), row = math.mod(slot, type.getPageSize());
  CachePart part = write.getPart();
  Value first = layout.address(math, part, page, indices[1], row, indices[2]);
  if (width == 1 || layout.dimStride(part) == 1) {
    emitter.store(element, buffer, first);
    return;
  }
  for (int64_t lane = 0; lane < width; ++lane)
    emitter.store(vector::ExtractOp::create(builder, loc, element, lane), buffer,
                  math.add(first, lane * layout.dimStride(part)));
}

void mlsys::storeOutput(ElementEmitter &emitter, KernelBuilder &kernel, unsigned output,
                            Value linear, int64_t width) {
  Value yielded = kernel.fusion.getBody().front().getTerminator()->getOperand(output);
  Value stored = getStoredValue(yielded);
  SmallVector<Value> indices = emitter.delinearize(linear, stored);
  Value element = emitter.emit(stored, indices, width);
  if (auto write = yielded.getDefiningOp<CacheWriteOp>())
    emitCacheStore(emitter, kernel, write, element, indices, width);
  else
    emitter.store(element, kernel.bufferOfOutput(output), linear);
}
