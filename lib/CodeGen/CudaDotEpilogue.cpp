//===- CudaDotEpilogue.cpp - What becomes of the sums of dots on CUDA -----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "CudaDotEpilogue.h"

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

Block *mlsys::createDotEpilogue(OpBuilder &builder, Location loc, Region &region) {
  return builder.createBlock(&region, {}, SmallVector<Type>(4, builder.getIndexType()), SmallVector<Location>(4, loc));
}

void mlsys::emitDotEpilogue(ElementEmitter &emitter, KernelBuilder &kernel, const DotGroup &group, PlaceInTile place,
                            llvm::function_ref<void(unsigned output)> store) {
  OpBuilder &builder = kernel.builder;
  for (auto [index, dot] : llvm::enumerate(group.dots)) {
    auto product = static_cast<int64_t>(index);
    auto type = cast<RankedTensorType>(dot->getResult(0).getType());
    emitter.bind(dot->getResult(0), [&emitter, &builder, loc = kernel.loc, place, product, type](
                                        ValueRange indices, int64_t width) -> Value {
      SmallVector<DimExpr> lead = getDims(type);
      lead.pop_back();
      Value row = emitter.linearize(indices.drop_back(), getTensorType(lead, type.getElementType()));
      auto [m, n] = place(row, indices.back());
      Type sum = isa<IntegerType>(type.getElementType()) ? Type(builder.getI32Type()) : Type(builder.getF32Type());
      return kernel::TileLoadOp::create(builder, loc, width == 1 ? sum : Type(VectorType::get({width}, sum)), product,
                                        m, n);
    });
  }
  emitter.clearCache();
  for (unsigned output : group.outputs)
    store(output);
}
