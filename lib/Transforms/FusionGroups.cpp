//===- FusionGroups.cpp - Operations on their way to a kernel -------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "FusionGroups.h"

#include <queue>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// Operations that give a kernel its inputs instead of being computed by one.
static bool isInputOp(Operation *op) {
  if (auto constant = dyn_cast<ConstantOp>(op))
    return !isa<SplatElementsAttr>(constant.getValue());
  return isa<WeightOp, CacheLayerOp>(op);
}

FusionGroups::FusionGroups(Block &block) {
  for (Operation &op : block.without_terminator()) {
    order[&op] = order.size();
    if (isInputOp(&op))
      continue;
    home[&op] = groups.size();
    holders[&op].push_back(groups.size());
    FusionGroup &group = groups.emplace_back();
    group.ops.push_back(&op);
    group.kind = kindOf(group.ops);
  }
}

FusionKind FusionGroups::kindOf(ArrayRef<Operation *> ops) {
  FusionKind kind = FusionKind::Loop;
  for (Operation *op : ops) {
    if (isa<AttentionOp, PagedAttentionOp>(op))
      return FusionKind::Attention;
    if (isDot(op))
      kind = FusionKind::Dot;
    else if (isa<ReduceOp>(op) && kind == FusionKind::Loop)
      kind = FusionKind::Row;
  }
  return kind;
}

bool FusionGroups::holds(unsigned id, Operation *op) const {
  auto it = holders.find(op);
  return it != holders.end() && llvm::is_contained(it->second, id);
}

llvm::SmallSetVector<unsigned, 4> FusionGroups::producers(unsigned id) const {
  llvm::SmallSetVector<unsigned, 4> result;
  for (Value input : inputsOf(groups[id].ops))
    if (Operation *op = input.getDefiningOp())
      if (auto it = home.find(op); it != home.end())
        result.insert(it->second);
  return result;
}

llvm::SmallSetVector<unsigned, 4> FusionGroups::consumers(unsigned id) const {
  llvm::SmallSetVector<unsigned, 4> result;
  for (Operation *op : groups[id].ops) {
    if (home.lookup(op) != id)
      continue;
    for (Operation *user : op->getUsers())
      if (auto it = holders.find(user); it != holders.end())
        for (unsigned holder : it->second)
          if (holder != id && !holds(holder, op))
            result.insert(holder);
  }
  return result;
}

llvm::SetVector<Value> FusionGroups::inputsOf(ArrayRef<Operation *> ops) {
  llvm::SmallPtrSet<Operation *, 16> members(ops.begin(), ops.end());
  llvm::SetVector<Value> inputs;
  for (Operation *op : ops)
    for (Value operand : op->getOperands())
      if (!members.contains(operand.getDefiningOp()))
        inputs.insert(operand);
  return inputs;
}

SmallVector<Value> FusionGroups::outputsOf(ArrayRef<Operation *> ops,
                                           ArrayRef<unsigned> homes) const {
  llvm::SmallPtrSet<Operation *, 16> members(ops.begin(), ops.end());
  // A user computes `op` itself when it only stands in groups that hold `op`.
  auto isReadOutside = [&](Operation *op) {
    return llvm::any_of(op->getUsers(), [&](Operation *user) {
      auto it = holders.find(user);
      if (it == holders.end())
        return true;
      return llvm::any_of(it->second, [&](unsigned holder) {
        return !llvm::is_contained(homes, holder) && !holds(holder, op);
      });
    });
  };
  SmallVector<Value> outputs;
  for (Operation *op : ops)
    if (llvm::is_contained(homes, home.lookup(op)) &&
        (isa<CacheWriteOp>(op) || isReadOutside(op)))
      outputs.push_back(op->getResult(0));
  return outputs;
}

SmallVector<Operation *> FusionGroups::unionOf(unsigned a, unsigned b) const {
  SmallVector<Operation *> ops = groups[a].ops;
  llvm::append_range(ops, groups[b].ops);
  llvm::sort(ops, [&](Operation *x, Operation *y) { return order.lookup(x) < order.lookup(y); });
  ops.erase(llvm::unique(ops), ops.end());
  return ops;
}

bool FusionGroups::hasIndirectPath(unsigned producer, unsigned consumer) const {
  // A path to the consumer ends at one of its operations, so groups that start
  // after its last one cannot be on it.
  unsigned last = order.lookup(groups[consumer].ops.back());
  SmallVector<unsigned> work;
  llvm::DenseSet<unsigned> seen;
  auto visit = [&](unsigned id) {
    if (order.lookup(groups[id].ops.front()) <= last && seen.insert(id).second)
      work.push_back(id);
  };
  for (unsigned next : consumers(producer))
    if (next != consumer)
      visit(next);
  while (!work.empty()) {
    unsigned id = work.pop_back_val();
    for (unsigned next : consumers(id)) {
      if (next == consumer)
        return true;
      visit(next);
    }
  }
  return false;
}

void FusionGroups::addOps(unsigned id, ArrayRef<Operation *> ops) {
  for (Operation *op : ops)
    if (!holds(id, op))
      holders[op].push_back(id);
}

void FusionGroups::removeGroup(unsigned id) {
  for (Operation *op : groups[id].ops)
    llvm::erase(holders[op], id);
  groups[id].alive = false;
  ++groups[id].version;
}

void FusionGroups::merge(unsigned producer, unsigned consumer, FusionKind kind) {
  SmallVector<Operation *> ops = unionOf(producer, consumer);
  for (Operation *op : groups[producer].ops)
    if (home.lookup(op) == producer)
      home[op] = consumer;
  addOps(consumer, groups[producer].ops);
  removeGroup(producer);
  groups[consumer].ops = std::move(ops);
  groups[consumer].kind = kind;
  ++groups[consumer].version;
}

void FusionGroups::duplicate(unsigned producer, unsigned consumer, FusionKind kind) {
  SmallVector<Operation *> ops = unionOf(producer, consumer);
  addOps(consumer, groups[producer].ops);
  groups[consumer].ops = std::move(ops);
  groups[consumer].kind = kind;
  ++groups[consumer].version;
  if (outputs(producer).empty())
    removeGroup(producer);
  else
    ++groups[producer].version;
}

SmallVector<unsigned> FusionGroups::topologicalOrder() const {
  llvm::DenseMap<unsigned, unsigned> missing;
  // Ready groups in program order, so that the result does not depend on ids.
  using Entry = std::pair<unsigned, unsigned>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> ready;
  auto push = [&](unsigned id) { ready.push({order.lookup(groups[id].ops.back()), id}); };
  for (unsigned id = 0; id < groups.size(); ++id) {
    if (!groups[id].alive)
      continue;
    missing[id] = producers(id).size();
    if (missing[id] == 0)
      push(id);
  }
  SmallVector<unsigned> result;
  while (!ready.empty()) {
    unsigned id = ready.top().second;
    ready.pop();
    result.push_back(id);
    for (unsigned next : consumers(id))
      if (--missing[next] == 0)
        push(next);
  }
  return result;
}
