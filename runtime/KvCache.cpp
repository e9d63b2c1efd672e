//===- KvCache.cpp - Which pages hold which tokens --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/KvCache.h"

#include "runtime/Error.h"

#include <algorithm>
#include <iterator>
#include <limits>

using namespace mlsys::rt;

/// In the place of a page that was released.
static constexpr int32_t released = -1;

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
  std::copy_if(pages.rbegin(), pages.rend(), std::back_inserter(freeList),
               [](int32_t page) { return page != released; });
  sequences.erase(sequence);
}

void KvCache::release(int64_t sequence, int64_t tokens) {
  find(sequence);
  std::vector<int32_t> &pages = sequences[sequence];
  int64_t count = std::min(tokens / tokensPerPage, int64_t(pages.size()));
  for (int64_t i = count; i-- > 0 && pages[size_t(i)] != released;) {
    freeList.push_back(pages[size_t(i)]);
    pages[size_t(i)] = released;
  }
}

int64_t KvCache::firstKept(int64_t sequence) const {
  const std::vector<int32_t> &pages = find(sequence);
  auto kept = std::find_if(pages.begin(), pages.end(), [](int32_t page) { return page != released; });
  return (kept - pages.begin()) * tokensPerPage;
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
    if (pages.back() != released)
      freeList.push_back(pages.back());
    pages.pop_back();
  }
}

std::span<const int32_t> KvCache::pages(int64_t sequence) const { return find(sequence); }

int64_t KvCache::slot(int64_t sequence, int64_t position) const {
  const std::vector<int32_t> &pages = find(sequence);
  if (position < 0 || position / tokensPerPage >= int64_t(pages.size()))
    throw Error("position {} is beyond the {} pages of its sequence", position, pages.size());
  if (pages[size_t(position / tokensPerPage)] == released)
    throw Error("the page of position {} was released", position);
  return pages[size_t(position / tokensPerPage)] * tokensPerPage + position % tokensPerPage;
}
