//===- ByteTrie.h - Finds the keys that begin a text ------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace mlsys::rt {

/// From byte strings to numbers, byte by byte. The children of a node lie side
/// by side, in the order of their bytes.
class ByteTrie {
public:
  using Entry = std::pair<std::string_view, int32_t>;

  ByteTrie() { build({}); }
  /// Of equal keys the one with the greatest number counts. Numbers are not
  /// negative.
  explicit ByteTrie(std::vector<Entry> entries) { build(std::move(entries)); }

  static constexpr uint32_t root = 0;
  /// "There is no such node".
  static constexpr uint32_t none = ~uint32_t(0);

  /// The node behind `byte` from `node`, or none.
  uint32_t next(uint32_t node, unsigned char byte) const {
    if (node == root)
      return firstLevel[byte];
    uint32_t begin = nodes[node].firstChild, end = nodes[node + 1].firstChild;
    // Few nodes have many children.
    while (end - begin > 8) {
      uint32_t middle = begin + (end - begin) / 2;
      if (labels[middle] <= byte)
        begin = middle;
      else
        end = middle;
    }
    for (; begin < end; ++begin)
      if (labels[begin] == byte)
        return begin;
    return none;
  }

  /// The number of the key that ends at `node`, or -1.
  int32_t value(uint32_t node) const { return nodes[node].value; }

  /// The node behind all of `text` from `node`, or none.
  uint32_t walk(uint32_t node, std::string_view text) const {
    for (unsigned char byte : text)
      if ((node = next(node, byte)) == none)
        break;
    return node;
  }

private:
  void build(std::vector<Entry> entries);

  struct Node {
    uint32_t firstChild;
    int32_t value;
  };
  std::vector<Node> nodes; ///< By number; one more at the end.
  std::vector<unsigned char> labels;
  uint32_t firstLevel[256];
};

} // namespace mlsys::rt
