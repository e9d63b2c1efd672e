//===- KvCache.cpp - Which pages hold which tokens --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/KvCache.h"

#include "runtime/Error.h"

#include <limits>

using namespace mlsys::rt;

KvCache::KvCache(int64_t pageSize, int64_t pageCount)
    : tokensPerPage(pageSize), pageTotal(pageCount) {
  if (pageSize < 1 || pageCount < 1 || pageCount > std::numeric_limits<int32_t>::max())
    throw Error("wrong KV cache of {} pages of {} tokens", pageCount, pageSize);
  freeList.reserve(size_t(pageCount));
  for (int64_t page = pageCount; page-- > 0;)
    freeList.push_back(int32_t(page));
}

int64_t KvCache::addSequence() {
  sequences[nextSequence];
  return nextSequence++;
}

const std::vector<int32_t> &KvCache::find(int64_t sequence) const {
  auto found = sequences.find(sequence);
  if (found == sequences.end())
    throw Error("no sequence {} in the KV cache", sequence);
  return found->second;
}

void KvCache::removeSequence(int64_t sequence) {
  const std::vector<int32_t> &pages = find(sequence);
  freeList.insert(freeList.end(), pages.rbegin(), pages.rend());
  sequences.erase(sequence);
}

std::vector<int32_t> KvCache::grow(int64_t sequence, int64_t tokens) {
  find(sequence);
  std::vector<int32_t> &pages = sequences[sequence];
  int64_t needed = (tokens + tokensPerPage - 1) / tokensPerPage - int64_t(pages.size());
  if (needed <= 0)
    return {};
  if (needed > freePages())
    throw Error("the KV cache is full: {} tokens need {} more pages of {} tokens, and {} of {} "
                "are free; use a larger --ctx-size",
                tokens, needed, tokensPerPage, freePages(), pageTotal);
  std::vector<int32_t> fresh;
  for (; needed > 0; --needed) {
    fresh.push_back(freeList.back());
    freeList.pop_back();
  }
  pages.insert(pages.end(), fresh.begin(), fresh.end());
  return fresh;
}

void KvCache::truncate(int64_t sequence, int64_t tokens) {
  find(sequence);
  std::vector<int32_t> &pages = sequences[sequence];
  size_t kept = size_t((tokens + tokensPerPage - 1) / tokensPerPage);
  while (pages.size() > kept) {
    freeList.push_back(pages.back());
    pages.pop_back();
  }
}

std::span<const int32_t> KvCache::pages(int64_t sequence) const { return find(sequence); }

int64_t KvCache::slot(int64_t sequence, int64_t position) const {
  const std::vector<int32_t> &pages = find(sequence);
  if (position < 0 || position / tokensPerPage >= int64_t(pages.size()))
    throw Error("position {} is beyond the {} pages of its sequence", position, pages.size());
  return pages[size_t(position / tokensPerPage)] * tokensPerPage + position % tokensPerPage;
}
