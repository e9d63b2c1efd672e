//===- KvCache.h - Which pages hold which tokens ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
// The bookkeeping of the paged KV cache. The pages themselves are the model's.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace mlsys::rt {

/// Hands out pages of `pageSize` tokens to sequences.
class KvCache {
public:
  KvCache(int64_t pageSize, int64_t pageCount);

  /// A new sequence without tokens.
  int64_t addSequence();
  /// Ends a sequence and frees its pages.
  void removeSequence(int64_t sequence);

  /// Makes room for `tokens` tokens in all. Returns the pages that are new to the
  /// sequence, which the model has to zero. Throws when too few pages are free,
  /// and then changes nothing.
  std::vector<int32_t> grow(int64_t sequence, int64_t tokens);

  /// Forgets all but the first `tokens` tokens and frees the pages that no longer hold any.
  void truncate(int64_t sequence, int64_t tokens);
  /// Frees the pages that hold only positions before `tokens`: they are not read again.
  void release(int64_t sequence, int64_t tokens);
  /// The first position whose page the sequence still has.
  int64_t firstKept(int64_t sequence) const;

  /// The pages of a sequence in order: its block table. Pages that were released are -1.
  std::span<const int32_t> pages(int64_t sequence) const;
  /// page * pageSize + row of the token at `position`, for which there is room.
  int64_t slot(int64_t sequence, int64_t position) const;

  int64_t pageSize() const { return tokensPerPage; }
  int64_t freePages() const { return int64_t(freeList.size()); }

private:
  const std::vector<int32_t> &find(int64_t sequence) const;

  int64_t tokensPerPage;
  int64_t pageTotal;
  int64_t nextSequence = 0;
  /// Free pages, the next one to use last.
  std::vector<int32_t> freeList;
  std::map<int64_t, std::vector<int32_t>> sequences;
};

} // namespace mlsys::rt
