//===- FusionLowering.h - From one fusion to one kernel ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// What LowerToKernel gives to the code that writes a kernel's body, and gets
// back from it. One function per kind and target:
//
//   lowerLoopForCpu, lowerRowForCpu, lowerDotForCpu, lowerAttentionForCpu
//   lowerLoopForCuda, ...
//
//===----------------------------------------------------------------------===//
#pragma once

#include "mlsys/IR/FusionAnalysis.h"
#include "mlsys/IR/Kernel.h"

#include "llvm/ADT/StringMap.h"

namespace mlsys {

struct CudaTarget;
struct TileTable;

/// What code generation knows of a CPU. `isa` is a name of Program.fbs.
struct CpuTarget {
  std::string isa;
  /// Lanes of a 32-bit vector: 8 (AVX2) or 16 (AVX-512).
  int64_t vectorWidth = 8;
  /// vdpbf16ps exists.
  bool bf16Dot = false;
  /// vpdpbusd exists.
  bool byteDot = false;
  /// AMX tiles exist.
  bool amx = false;
  /// Bytes of one core's caches.
  int64_t l1Bytes = 32 << 10, l2Bytes = 1 << 20;
  /// Bytes of the last cache that `threads` cores can count on.
  int64_t l3Bytes = 32 << 20;
  /// Worker threads that tile choice plans for.
  int64_t threads = 2;
  /// Measured tile sizes; null: by rule.
  std::shared_ptr<const TileTable> tiles;
  /// Which variation of the sizes is tried; 0: none.
  int64_t candidate = 0;

  /// The target for a name of Program.fbs; nothing when it is unknown.
  static std::optional<CpuTarget> get(llvm::StringRef isa);
  /// The best that the machine we run on supports.
  static CpuTarget host();
};

/// Columns of a panel of packed weights, the same on every CPU so that one
/// packed copy serves all; 16-bit weights are stored in pairs along K, 8-bit ones in fours.
constexpr int64_t panelColumns = 32;

/// Elements of a row that lie side by side in a panel.
inline int64_t getPanelPair(mlir::Type elementType) {
  return elementType.isF32() ? 1 : elementType.isInteger(8) ? 4 : 2;
}

/// A kernel under construction. The insertion point of `builder` is inside `function`.
struct KernelBuilder {
  mlir::OpBuilder &builder;
  mlir::Location loc;
  kernel::FuncOp function;
  graph::FusionOp fusion;
  const graph::FusionStructure &structure;
  /// The function's buffers: one for each input of the fusion, then one for each result
  /// that is a tensor (a kv_layer result is the buffer of its operand).
  llvm::SmallVector<mlir::Value> inputs = {}, outputs = {};
  /// By name; made on demand by `extent`.
  llvm::StringMap<mlir::Value> symbols = {};
  /// What the kernel's symbol arguments are, in order: expressions over symbols (DimExpr).
  llvm::SmallVector<std::string> symbolNames = {};
  /// CPU: scratch memory (memref<?xi8>) and the range of tasks.
  mlir::Value scratch = {}, begin = {}, end = {};
  /// CPU: bytes of scratch handed out so far.
  int64_t scratchBytes = 0;
  /// Set, after an error on the operation at fault, by code that has no other way to fail.
  bool failed = false;
  /// When it is not 1, attention whose keys are many is cut into so many parts (CUDA, 0: of a fixed
  /// size), and writes their results to a second output, from which a second kernel makes the first
  /// (CpuAttention.h, LowerForCuda.h).
  int64_t parts = 1;
  /// CPU: inputs (by position) that are gathered from and packed as panels.
  llvm::SmallDenseSet<unsigned> packedTables = {};

  /// The value of an extent as an index: a constant, an argument of the kernel, or a multiple of one.
  mlir::Value extent(const graph::DimExpr &dim);
  /// `count` elements of private memory, aligned to 64 bytes: memref<countxT>.
  mlir::Value allocScratch(int64_t count, mlir::Type elementType);
  /// The flat buffer of a block argument of the fusion's body.
  mlir::Value bufferOf(mlir::BlockArgument argument);
  /// The flat buffer of the output at a position of the terminator; for a
  /// cache_write, the buffer of the layer.
  mlir::Value bufferOfOutput(unsigned position);
};

/// The flat buffer that holds elements of a tensor or a KV layer: i1 and
/// 16-bit floats as they are, ui8 as i8.
mlir::MemRefType getBufferType(mlir::Type graphType);
/// The type that elements are computed in: f32 for 16-bit floats, i8 for ui8.
mlir::Type getComputeType(mlir::Type elementType);

/// How one kernel is launched and what it asks of its operands. Expressions are
/// over affine symbols in the order of the enclosing function's `graph.symbols`; build
/// them with `toAffine`.
struct LaunchShape {
  /// CPU: the number of tasks, as one entry. CUDA: three.
  llvm::SmallVector<mlir::AffineExpr> grid;
  /// CPU: claim tasks dynamically, this many at a time (0: one static range a worker).
  int64_t grain = 0;
  /// CUDA.
  llvm::SmallVector<int32_t> block;
  int64_t sharedBytes = 0;
  /// When there: how much of these a launch takes.
  mlir::AffineExpr shared;
  /// When not 0: blocks walk over the grid's first extent, and no more than these are launched.
  int64_t maxBlocks = 0;
  /// A tensor of which the kernel copies tiles: one of its buffers, the extents (of dimension 0, whose elements are
  /// neighbours, and up), the elements from one index to the next (of dimensions 1 and up), and the extents of a tile.
  struct TensorMap {
    int64_t buffer;
    llvm::SmallVector<mlir::AffineExpr> extents, strides;
    llvm::SmallVector<int64_t> tile;

    TensorMap(int64_t buffer, llvm::SmallVector<mlir::AffineExpr> extents,
              llvm::SmallVector<mlir::AffineExpr> strides, llvm::SmallVector<int64_t> tile)
        : buffer(buffer), extents(std::move(extents)), strides(std::move(strides)), tile(std::move(tile)) {}
    /// A row-major matrix.
    TensorMap(int64_t buffer, int64_t columns, mlir::AffineExpr rows, int64_t tileColumns, int64_t tileRows)
        : buffer(buffer), extents{mlir::getAffineConstantExpr(columns, rows.getContext()), rows},
          strides{extents.front()}, tile{tileColumns, tileRows} {}
  };
  llvm::SmallVector<TensorMap> tensorMaps;
  /// Inputs of the fusion (by position) that must be packed as panels; `pair` 0: row-major.
  struct Panels {
    unsigned input;
    int64_t block, pair;
  };
  llvm::SmallVector<Panels> panels;
};

/// Writes the body of a kernel for a fusion of one kind and says how to launch it.
/// Fails after an error on the fusion (or an operation inside it).
mlir::LogicalResult lowerLoopForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                    LaunchShape &launch);
mlir::LogicalResult lowerRowForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                   LaunchShape &launch);

/// The lowering for the CPU of any kind of fusion; an error for kinds that have none.
mlir::LogicalResult lowerFusionForCpu(KernelBuilder &kernel, const CpuTarget &target,
                                      LaunchShape &launch);
/// The same for CUDA.
mlir::LogicalResult lowerFusionForCuda(KernelBuilder &kernel, const CudaTarget &target,
                                       LaunchShape &launch);

/// `dim` over the affine symbols of the function around `fusion`, for LaunchShape.
mlir::AffineExpr toLaunchExpr(graph::FusionOp fusion, const graph::DimExpr &dim);

} // namespace mlsys
