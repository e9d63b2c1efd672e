//===- Mutator.h - Damages files in ways that readers may trip over -------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>

namespace mlsys::test {

/// Makes damaged copies of a file. The same seed gives the same copies.
class Mutator {
public:
  explicit Mutator(uint64_t seed) : random(seed) {}

  /// One to three changes of bytes, words, numbers and pieces. Changes are made
  /// in the first `headerBytes` mostly, where the structure lies.
  std::string mutate(std::string bytes, size_t headerBytes) {
    for (int changes = 1 + pick(3); changes > 0 && !bytes.empty(); --changes)
      change(bytes, std::min(headerBytes, bytes.size()));
    return bytes;
  }

  /// A number in [0, limit).
  size_t pick(size_t limit) { return limit == 0 ? 0 : random() % limit; }

private:
  std::mt19937_64 random;

  /// Numbers at which arithmetic goes wrong.
  int64_t specialNumber() {
    static constexpr int64_t numbers[] = {0,         1,          -1,        2,
                                          127,       255,        65536,     INT32_MAX,
                                          INT32_MIN, 4294967295, 1LL << 40, INT64_MAX,
                                          INT64_MIN, 1LL << 62,  -8,        100000001};
    return numbers[pick(std::size(numbers))];
  }

  /// Replaces the digits at or after `position` by another number.
  void changeNumber(std::string &bytes, size_t position) {
    size_t begin = bytes.find_first_of("0123456789", position);
    if (begin == std::string::npos)
      return;
    size_t end = bytes.find_first_not_of("0123456789.eE+-", begin);
    end = std::min(end, bytes.size());
    static const char *const odd[] = {"1e999", "-0", "18446744073709551616", "null", "\"a\"", "[]",
                                      "{}", "true", "0.5", "00"};
    std::string text = pick(3) ? std::to_string(specialNumber()) : odd[pick(std::size(odd))];
    bytes.replace(begin, end - begin, text);
  }

  void change(std::string &bytes, size_t header) {
    size_t position = pick(pick(16) == 0 ? bytes.size() : header);
    switch (pick(9)) {
    case 0:
      bytes[position] = static_cast<char>(bytes[position] ^ (1 << pick(8)));
      break;
    case 1:
      bytes[position] = static_cast<char>(random());
      break;
    case 2:
    case 3: {
      // A little-endian word.
      int64_t number = specialNumber();
      size_t width = size_t(1) << pick(4);
      std::memcpy(&bytes[position], &number, std::min(width, bytes.size() - position));
      break;
    }
    case 4:
    case 5:
      changeNumber(bytes, position);
      break;
    case 6:
      bytes.erase(position, 1 + pick(16));
      break;
    case 7:
      bytes.insert(pick(header), bytes.substr(position, 1 + pick(24)));
      break;
    case 8:
      if (pick(4) == 0)
        bytes.resize(pick(bytes.size()));
      else
        std::swap(bytes[position], bytes[pick(header)]);
      break;
    }
  }
};

} // namespace mlsys::test
