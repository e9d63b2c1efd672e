//===- ByteTrie.cpp - Finds the keys that begin a text --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ByteTrie.h"

#include <algorithm>

using namespace mlsys::rt;

void ByteTrie::build(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end());
  // Nodes in the order of their depth, so the children of one are together.
  struct Pending {
    size_t begin, end, depth;
  };
  std::vector<Pending> pending = {{0, entries.size(), 0}};
  labels = {0};
  for (size_t i = 0; i < pending.size(); ++i) {
    auto [begin, end, depth] = pending[i];
    int32_t value = -1;
    while (begin < end && entries[begin].first.size() == depth)
      value = entries[begin++].second;
    nodes.push_back({static_cast<uint32_t>(pending.size()), value});
    while (begin < end) {
      unsigned char byte = entries[begin].first[depth];
      size_t to = begin;
      while (to < end && static_cast<unsigned char>(entries[to].first[depth]) == byte)
        ++to;
      labels.push_back(byte);
      pending.push_back({begin, to, depth + 1});
      begin = to;
    }
  }
  nodes.push_back({static_cast<uint32_t>(pending.size()), -1});
  std::fill(std::begin(firstLevel), std::end(firstLevel), none);
  for (uint32_t child = nodes[0].firstChild; child < nodes[1].firstChild; ++child)
    firstLevel[labels[child]] = child;
}
