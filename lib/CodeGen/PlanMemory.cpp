//===- PlanMemory.cpp - Give temporary buffers slots of the arena ---------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A function at this stage is a list of launches, so a buffer's life is an
// interval of it. Sizes depend on symbols; only their order at the hints is
// used, a wrong guess costs memory and never correctness.
//
//===----------------------------------------------------------------------===//

#include "mlsys/IR/Kernel.h"

namespace mlsys {
#define GEN_PASS_DEF_PLANMEMORY
#include "mlsys/CodeGen/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;

namespace {
/// A buffer and the launches, by number, between which its contents matter.
struct Life {
  kernel::AllocOp alloc;
  int64_t first, last;
  int64_t bytes;
  /// Its position among the buffers.
  size_t order;

  bool overlaps(const Life &other) const { return first <= other.last && other.first <= last; }
};
} // namespace

/// Bytes of a buffer with every symbol at its hint.
static int64_t getHintBytes(kernel::AllocOp alloc, func::FuncOp function) {
  int64_t bytes = graph::getElementBits(alloc.getType().getElementType()) / 8;
  for (StringAttr dim : alloc.getDims().getDims())
    bytes *= graph::evaluateAtHints(*graph::DimExpr::parse(dim.getValue()), function);
  return bytes;
}

/// Widens `life` by every launch that uses `value` or a view of it.
static void addUses(Value value, const llvm::DenseMap<Operation *, int64_t> &launches, Life &life) {
  for (Operation *user : value.getUsers()) {
    if (auto view = dyn_cast<kernel::ViewOp>(user)) {
      addUses(view.getResult(), launches, life);
    } else if (auto it = launches.find(user); it != launches.end()) {
      life.first = std::min(life.first, it->second);
      life.last = std::max(life.last, it->second);
    }
  }
}

/// Removes a buffer that no launch uses, and its views.
static void eraseUnused(Operation *op) {
  for (Operation *user : llvm::make_early_inc_range(op->getResult(0).getUsers()))
    eraseUnused(user);
  op->erase();
}

namespace {
struct PlanMemory : mlsys::impl::PlanMemoryBase<PlanMemory> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    llvm::DenseMap<Operation *, int64_t> launches;
    function.walk([&](kernel::LaunchOp launch) { launches.insert({launch, launches.size()}); });

    SmallVector<Life> lives;
    SmallVector<kernel::AllocOp> unused;
    function.walk([&](kernel::AllocOp alloc) {
      Life life{alloc, INT64_MAX, -1, getHintBytes(alloc, function), lives.size()};
      addUses(alloc.getResult(), launches, life);
      if (life.last < 0)
        unused.push_back(alloc);
      else
        lives.push_back(life);
    });
    for (kernel::AllocOp alloc : unused)
      eraseUnused(alloc);

    // From the largest on, so that the first buffer of a slot is its largest and the
    // last slot that is free is the smallest that fits.
    llvm::sort(lives, [](const Life &a, const Life &b) {
      return std::tie(b.bytes, a.order) < std::tie(a.bytes, b.order);
    });
    SmallVector<SmallVector<const Life *>> slots;
    for (const Life &life : lives) {
      int64_t slot = static_cast<int64_t>(slots.size()) - 1;
      auto isTaken = [&](const Life *other) { return life.overlaps(*other); };
      while (slot >= 0 && llvm::any_of(slots[slot], isTaken))
        --slot;
      if (slot < 0) {
        slot = slots.size();
        slots.emplace_back();
      }
      slots[slot].push_back(&life);
      kernel::AllocOp(life.alloc).setSlot(slot);
    }
    numBuffers += lives.size();
    numSlots += slots.size();
  }
};
} // namespace
