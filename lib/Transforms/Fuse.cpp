//===- Fuse.cpp - Groups operations into kernels --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// A priority queue over producer-consumer edges, keyed by the time saved; the
// edges of a merged group are keyed anew. FusionAnalysis says what one kernel
// can hold, FusionCost what is worth it.
//
//===----------------------------------------------------------------------===//

#include "FusionCost.h"
#include "FusionGroups.h"
#include "mlsys/Transforms/Passes.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"

#include <queue>

namespace mlsys {
#define GEN_PASS_DEF_FUSE
#include "mlsys/Transforms/Passes.h.inc"
} // namespace mlsys

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

static remark::RemarkOpts fusionRemark() {
  return remark::RemarkOpts::name("Fuse").category("fusion");
}

/// The operation that names a group in messages and locations: its hero, else
/// its last operation.
static Operation *mainOp(const FusionGroup &group) {
  for (Operation *op : group.ops)
    if (isDot(op) || isa<AttentionOp, PagedAttentionOp>(op))
      return op;
  return group.ops.back();
}

namespace {
/// What became of an edge, with the time that it saves.
struct Candidate {
  double saved = 0;
  unsigned producer = 0, consumer = 0;
  unsigned producerVersion = 0, consumerVersion = 0;
  bool duplicate = false;

  bool operator<(const Candidate &other) const {
    return std::tie(saved, other.producer, other.consumer) <
           std::tie(other.saved, producer, consumer);
  }
};

class Fuser {
public:
  Fuser(func::FuncOp function, FusionMachine machine)
      : cost(function, machine), groups(function.getBody().front()) {}

  LogicalResult checkSingles();
  void mergeSiblingDots();
  void mergeEdges();
  void materialize(Block &block);

  unsigned numMerged = 0, numDuplicated = 0;

private:
  bool isCheap(const FusionGroup &group) const;
  double savedTime(unsigned producer, unsigned consumer, size_t numConsumers, bool duplicate);
  void pushEdge(unsigned producer, unsigned consumer);
  void pushEdgesOf(unsigned id);
  /// Why the edge cannot be merged; empty when it can.
  std::string refusal(const Candidate &candidate, FusionKind &kind);

  FusionCost cost;
  FusionGroups groups;
  std::priority_queue<Candidate> queue;
};
} // namespace

LogicalResult Fuser::checkSingles() {
  for (unsigned id = 0; id < groups.size(); ++id) {
    std::string reason;
    SmallVector<Value> outputs = groups.outputs(id);
    if (!outputs.empty() &&
        failed(analyzeOps(groups[id].ops, outputs, groups[id].kind, &reason)))
      return groups[id].ops.front()->emitOpError("has no kernel: ") << reason;
  }
  return success();
}

/// Dots with the same left side read it, and compute its prologue, once.
void Fuser::mergeSiblingDots() {
  // Experts that both choose make siblings of their products.
  llvm::MapVector<std::pair<Value, Value>, SmallVector<unsigned>> bySides;
  for (unsigned id = 0; id < groups.size(); ++id) {
    Operation *op = groups[id].ops.front();
    auto expertDot = dyn_cast<ExpertDotOp>(op);
    if (isDot(op))
      bySides[{getLeft(op), expertDot ? expertDot.getExperts() : Value()}].push_back(id);
  }
  for (auto &[sides, ids] : bySides) {
    unsigned target = ids.front();
    for (unsigned id : ArrayRef(ids).drop_front()) {
      if (groups.hasIndirectPath(target, id) || groups.hasIndirectPath(id, target))
        continue;
      SmallVector<Operation *> ops = groups.unionOf(target, id);
      std::string reason;
      if (failed(analyzeOps(ops, groups.outputsOf(ops, {target, id}), FusionKind::Dot, &reason))) {
        remark::missed(ops.back()->getLoc(), fusionRemark())
            << remark::reason("sibling dot: {0}", reason);
        continue;
      }
      groups.merge(id, target, FusionKind::Dot);
      ++numMerged;
    }
  }
}

/// Cheap to compute again for each reader: a few simple operations that read no
/// more than they give.
bool Fuser::isCheap(const FusionGroup &group) const {
  static constexpr double maxOperationsPerElement = 2;
  double operations = 0, read = 0;
  for (Operation *op : group.ops) {
    if (!isIndexable(op) || isa<GatherOp>(op))
      return false;
    operations += cost.operations(op);
  }
  for (Value input : FusionGroups::inputsOf(group.ops))
    read += cost.bytes(input);
  Value result = group.ops.back()->getResult(0);
  return operations <= maxOperationsPerElement * cost.elements(result.getType()) &&
         (read <= cost.bytes(result) || operations == 0);
}

double Fuser::savedTime(unsigned producer, unsigned consumer, size_t numConsumers, bool duplicate) {
  FusionGroup &from = groups[producer], &to = groups[consumer];
  llvm::SetVector<Value> read = FusionGroups::inputsOf(to.ops);
  double saved = cost.getMachine().launch / (duplicate ? numConsumers : 1);
  for (Value output : groups.outputs(producer)) {
    if (!read.contains(output))
      continue;
    // Not read by the consumer, and not written when nobody else reads it.
    saved += cost.moveTime(cost.bytes(output)) * (numConsumers == 1 ? 2 : 1);
  }
  if (duplicate)
    for (Value input : FusionGroups::inputsOf(from.ops))
      saved -= cost.moveTime(cost.bytes(input));
  if (to.kind == FusionKind::Dot && from.kind != FusionKind::Dot) {
    // Only what the left sides need is a prologue; the rest runs once an output.
    double rows = 0, columns = 0;
    llvm::SetVector<Operation *> prologue;
    for (Operation *op : to.ops)
      if (auto dot = dyn_cast<DotOp>(op)) {
        RankedTensorType type = dot.getResult().getType();
        columns += cost.evaluate(getDim(type, type.getRank() - 1));
        rows = cost.elements(type) / cost.evaluate(getDim(type, type.getRank() - 1));
        SmallVector<Value> work{dot.getLhs()};
        while (!work.empty()) {
          Operation *definition = work.pop_back_val().getDefiningOp();
          if (definition &&
              (llvm::is_contained(from.ops, definition) ||
               llvm::is_contained(to.ops, definition)) &&
              prologue.insert(definition))
            work.append(definition->operand_begin(), definition->operand_end());
        }
      }
    SmallVector<Operation *> recomputed;
    for (Operation *op : from.ops)
      if (prologue.contains(op))
        recomputed.push_back(op);
    saved -= cost.prologueTime(recomputed, rows, columns);
  }
  return saved;
}

void Fuser::pushEdge(unsigned producer, unsigned consumer) {
  Candidate candidate;
  candidate.producer = producer;
  candidate.consumer = consumer;
  candidate.producerVersion = groups[producer].version;
  candidate.consumerVersion = groups[consumer].version;
  size_t numConsumers = groups.consumers(producer).size();
  candidate.duplicate = numConsumers > 1 && isCheap(groups[producer]);
  candidate.saved = savedTime(producer, consumer, numConsumers, candidate.duplicate);
  if (candidate.saved > 0)
    queue.push(candidate);
  else
    remark::missed(mainOp(groups[consumer])->getLoc(), fusionRemark())
        << remark::reason("recomputing {0} costs more than it saves",
                          mainOp(groups[producer])->getName().getStringRef());
}

void Fuser::pushEdgesOf(unsigned id) {
  for (unsigned producer : groups.producers(id))
    pushEdge(producer, id);
  for (unsigned consumer : groups.consumers(id))
    pushEdge(id, consumer);
}

std::string Fuser::refusal(const Candidate &candidate, FusionKind &kind) {
  unsigned producer = candidate.producer, consumer = candidate.consumer;
  SmallVector<Operation *> ops = groups.unionOf(producer, consumer);
  kind = FusionGroups::kindOf(ops);
  SmallVector<unsigned> homes{consumer};
  if (!candidate.duplicate) {
    homes.push_back(producer);
    if (groups.hasIndirectPath(producer, consumer))
      return "another kernel stands between them";
  }
  std::string reason;
  if (failed(analyzeOps(ops, groups.outputsOf(ops, homes), kind, &reason)))
    return reason;
  return "";
}

void Fuser::mergeEdges() {
  for (unsigned id = 0; id < groups.size(); ++id)
    if (groups[id].alive)
      for (unsigned producer : groups.producers(id))
        pushEdge(producer, id);
  while (!queue.empty()) {
    Candidate candidate = queue.top();
    queue.pop();
    FusionGroup &producer = groups[candidate.producer], &consumer = groups[candidate.consumer];
    if (!producer.alive || !consumer.alive || producer.version != candidate.producerVersion ||
        consumer.version != candidate.consumerVersion)
      continue;
    FusionKind kind;
    std::string reason = refusal(candidate, kind);
    if (!reason.empty()) {
      remark::missed(mainOp(consumer)->getLoc(), fusionRemark())
          << remark::reason("{0} into {1}: {2}", mainOp(producer)->getName().getStringRef(),
                            mainOp(consumer)->getName().getStringRef(), reason);
      continue;
    }
    remark::passed(mainOp(consumer)->getLoc(), fusionRemark())
        << "fused " << mainOp(producer)->getName().getStringRef() << " into "
        << mainOp(consumer)->getName().getStringRef();
    if (candidate.duplicate) {
      groups.duplicate(candidate.producer, candidate.consumer, kind);
      ++numDuplicated;
      // The remaining readers share the producer among fewer.
      if (groups[candidate.producer].alive)
        for (unsigned other : groups.consumers(candidate.producer))
          pushEdge(candidate.producer, other);
    } else {
      groups.merge(candidate.producer, candidate.consumer, kind);
      ++numMerged;
    }
    pushEdgesOf(candidate.consumer);
  }
}

void Fuser::materialize(Block &block) {
  OpBuilder builder(block.getTerminator());
  IRMapping replaced;
  for (unsigned id : groups.topologicalOrder()) {
    FusionGroup &group = groups[id];
    SmallVector<Value> outputs = groups.outputs(id);
    if (outputs.empty())
      continue;
    llvm::SetVector<Value> inputs = FusionGroups::inputsOf(group.ops);
    SmallVector<Value> operands;
    for (Value input : inputs)
      operands.push_back(replaced.lookupOrDefault(input));
    Location loc = mainOp(group)->getLoc();
    auto fusion = FusionOp::create(builder, loc, TypeRange(ValueRange(outputs)),
                                   stringifyFusionKind(group.kind), operands);
    Block &body = fusion.getBody().emplaceBlock();
    OpBuilder bodyBuilder = OpBuilder::atBlockBegin(&body);
    IRMapping inside;
    for (Value input : inputs)
      inside.map(input, body.addArgument(input.getType(), input.getLoc()));
    for (Operation *op : group.ops)
      bodyBuilder.clone(*op, inside);
    SmallVector<Value> yielded;
    for (Value output : outputs)
      yielded.push_back(inside.lookup(output));
    YieldOp::create(bodyBuilder, loc, yielded);
    for (auto [output, result] : llvm::zip_equal(outputs, fusion.getResults()))
      replaced.map(output, result);
  }
  for (OpOperand &operand : block.getTerminator()->getOpOperands())
    operand.set(replaced.lookupOrDefault(operand.get()));
  // The originals, last first: nothing reads them any more.
  SmallVector<Operation *> originals;
  for (Operation &op : block.without_terminator())
    if (!isa<FusionOp>(op))
      originals.push_back(&op);
  for (Operation *op : llvm::reverse(originals))
    if (op->use_empty())
      op->erase();
}

namespace {
struct Fuse : mlsys::impl::FuseBase<Fuse> {
  using FuseBase::FuseBase;

  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal() || !function.getBody().hasOneBlock())
      return;
    Fuser fuser(function, FusionMachine::get(target));
    if (failed(fuser.checkSingles()))
      return signalPassFailure();
    fuser.mergeSiblingDots();
    fuser.mergeEdges();
    fuser.materialize(function.getBody().front());
    numMerged += fuser.numMerged;
    numDuplicated += fuser.numDuplicated;
  }
};
} // namespace
