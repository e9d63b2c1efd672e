//===- Attention.cpp - Attention and the KV cache, evaluated --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Evaluate.h"

#include <cmath>

using namespace mlir;
using namespace mlsys;
using namespace mlsys::graph;

/// The keys that a query sees: [begin, end).
struct KeyRange {
  int64_t begin, end;
};

/// The keys of the query at `position`; `window` and what lies before it are left out.
template <typename Op> static KeyRange causalKeys(Op op, int64_t position) {
  std::optional<int64_t> window = op.getWindow();
  return {window ? std::max<int64_t>(0, position + 1 - *window) : 0, position + 1};
}

/// What a product of a query and a key becomes before the softmax.
struct ScoreRule {
  double scale;
  /// 0: none.
  double softcap = 0;
  /// What a key's distance is multiplied by, and the query's position.
  double slope = 0;
  int64_t position = 0;

  double operator()(double product, int64_t key) const {
    double score = product * scale;
    if (softcap > 0)
      score = softcap * std::tanh(score / softcap);
    return score + slope * static_cast<double>(key - position);
  }
};

template <typename Op> static ScoreRule scoreRule(Op op, int64_t head, int64_t position) {
  ScoreRule rule{op.getScale().convertToFloat()};
  if (std::optional<APFloat> cap = op.getSoftcap())
    rule.softcap = cap->convertToFloat();
  if (std::optional<ArrayRef<float>> slopes = op.getSlopes())
    rule.slope = (*slopes)[head];
  rule.position = position;
  return rule;
}

/// The softmax of the scores, times the values, for one query of one head. `key` and `value` give
/// element d of the row at a position.
static void attend(Tensor &result, int64_t resultStart, const Tensor &query, int64_t queryStart,
                   int64_t dim, KeyRange keys, const ScoreRule &rule,
                   llvm::function_ref<double(int64_t, int64_t)> key,
                   llvm::function_ref<double(int64_t, int64_t)> value) {
  std::vector<double> weights;
  double largest = -INFINITY, sum = 0;
  for (int64_t position = keys.begin; position < keys.end; ++position) {
    double score = 0;
    for (int64_t d = 0; d < dim; ++d)
      score += query.getFloat(queryStart + d) * key(position, d);
    weights.push_back(rule(score, position));
    largest = std::max(largest, weights.back());
  }
  for (double &weight : weights)
    sum += weight = std::exp(weight - largest);
  for (int64_t d = 0; d < dim; ++d) {
    double total = 0;
    for (int64_t position = keys.begin; position < keys.end; ++position)
      total += weights[position - keys.begin] * value(position, d);
    result.setFloat(resultStart + d, weights.empty() ? 0.0 : total / sum);
  }
}

llvm::Expected<Tensor> mlsys::evaluateAttention(AttentionOp op, const Evaluation &e) {
  const Tensor &query = e.tensor(0), &key = e.tensor(1), &value = e.tensor(2);
  int64_t batches = query.dim(0), queries = query.dim(1), heads = query.dim(2), dim = query.dim(3);
  int64_t keys = key.dim(1), keyHeads = key.dim(2), group = heads / keyHeads;
  Tensor result = e.makeResult();
  for (int64_t batch = 0; batch < batches; ++batch)
    for (int64_t row = 0; row < queries; ++row)
      for (int64_t head = 0; head < heads; ++head) {
        int64_t start = ((batch * queries + row) * heads + head) * dim;
        auto at = [&](const Tensor &tensor) {
          return [&, head](int64_t position, int64_t d) {
            return tensor.getFloat(
                ((batch * keys + position) * keyHeads + head / group) * dim + d);
          };
        };
        attend(result, start, query, start, dim,
               op.getCausal() ? causalKeys(op, row) : KeyRange{0, keys}, scoreRule(op, head, row),
               at(key), at(value));
      }
  return result;
}

llvm::Expected<CacheValue> mlsys::evaluateCacheWrite(CacheWriteOp op, const CacheValue &layer,
                                                     const Tensor &input, const Tensor &slots) {
  KvPages &pages = *layer.pages;
  int64_t part = op.getPart() == CachePart::key ? 0 : 1;
  for (int64_t token = 0; token < slots.size(); ++token) {
    int64_t slot = slots.getInt(token);
    if (slot < 0)
      continue;
    if (slot >= pages.pages * pages.pageSize)
      return llvm::createStringError("'graph.cache_write' writes slot " + std::to_string(slot) +
                                     " of a cache of " +
                                     std::to_string(pages.pages * pages.pageSize));
    for (int64_t head = 0; head < pages.heads; ++head) {
      float *row = pages.row(layer.layer, part, slot, head);
      for (int64_t d = 0; d < pages.headDim; ++d)
        row[d] = static_cast<float>(roundToFloatType(
            input.getFloat((token * pages.heads + head) * pages.headDim + d), pages.dtype));
    }
  }
  return layer;
}

llvm::Expected<Tensor> mlsys::evaluatePagedAttention(PagedAttentionOp op, const Evaluation &e) {
  const Tensor &query = e.tensor(0), &queryStart = e.tensor(2), &contextLength = e.tensor(3),
               &blockTable = e.tensor(4);
  const CacheValue &layer = e.cache(1);
  KvPages &pages = *layer.pages;
  int64_t heads = query.dim(1), dim = query.dim(2), group = heads / pages.heads;
  int64_t tablePages = blockTable.dim(1);
  Tensor result = e.makeResult();
  for (int64_t request = 0; request < contextLength.size(); ++request) {
    int64_t begin = queryStart.getInt(request), end = queryStart.getInt(request + 1);
    int64_t context = contextLength.getInt(request), count = end - begin;
    if (begin < 0 || count < 0 || end > query.dim(0))
      return e.error("request {0} has tokens {1} to {2} of {3}", request, begin, end, query.dim(0));
    if (context == 0)
      continue;
    if (context < count || context > tablePages * pages.pageSize)
      return e.error("request {0} has a context of {1}, with {2} new tokens and {3} pages", request,
                     context, count, tablePages);
    std::vector<int64_t> slots(context);
    // Pages before the first token's window may be gone.
    int64_t first = op.getBidirectional() ? 0 : causalKeys(op, context - count).begin;
    for (int64_t position = first; position < context; ++position) {
      int64_t page = blockTable.getInt(request * tablePages + position / pages.pageSize);
      if (page < 0 || page >= pages.pages)
        return e.error("request {0} uses page {1} of {2}", request, page, pages.pages);
      slots[position] = page * pages.pageSize + position % pages.pageSize;
    }
    for (int64_t token = begin; token < end; ++token)
      for (int64_t head = 0; head < heads; ++head) {
        auto at = [&](int64_t part) {
          return [&, part](int64_t position, int64_t d) {
            return double(pages.row(layer.layer, part, slots[position], head / group)[d]);
          };
        };
        int64_t start = (token * heads + head) * dim;
        int64_t position = context - count + (token - begin);
        KeyRange keys = op.getBidirectional() ? KeyRange{0, context} : causalKeys(op, position);
        attend(result, start, query, start, dim, keys, scoreRule(op, head, position), at(0), at(1));
      }
  }
  return result;
}

llvm::Expected<Tensor> mlsys::evaluateLastToken(const Evaluation &e) {
  const Tensor &input = e.tensor(0), &queryStart = e.tensor(1);
  Tensor result = e.makeResult();
  int64_t rows = input.dim(0), width = rows ? input.size() / rows : 0;
  for (int64_t request = 0; request + 1 < queryStart.size(); ++request) {
    int64_t row = queryStart.getInt(request + 1) - 1;
    if (row < 0 || row >= rows)
      return e.error("reads row {0} of {1}", row, rows);
    for (int64_t j = 0; j < width; ++j)
      copyElement(result, request * width + j, input, row * width + j);
  }
  return result;
}
