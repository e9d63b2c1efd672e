//===- Bpe.cpp - Byte-pair encoding ---------------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// Merging follows the ranks exactly: of all adjacent pairs the one of lowest
// rank is merged first, the leftmost of equals. Short words are merged in an
// array, long ones with a heap. A word is first cut where no merge can join the
// two characters, which turns a whole text without pre-tokenizer into short
// words.
#include "runtime/Bpe.h"

#include "runtime/ByteLevel.h"
#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"
#include "runtime/WordCache.h"

#include <algorithm>

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, model";

/// Up to this many symbols the array beats the heap.
static constexpr size_t shortWord = 40;

/// Words up to this many bytes are not worth cutting.
static constexpr size_t uncutWord = 16;

static uint64_t mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15;
  return x ^ x >> 29;
}

static uint64_t makePair(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 |
         static_cast<uint32_t>(right);
}

static int32_t lowerHalf(uint64_t value) { return static_cast<int32_t>(value); }

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

std::optional<int32_t> Bpe::find(std::string_view token) const {
  auto it = ids.find(token);
  return it == ids.end() ? std::nullopt : std::optional(it->second);
}

void Bpe::insertMerge(uint64_t pair, uint64_t result) {
  uint64_t slot = mix(pair) & mergeMask;
  while (merges[slot].pair != none && merges[slot].pair != pair)
    slot = (slot + 1) & mergeMask;
  merges[slot] = {pair, result};
}

uint64_t Bpe::merge(int32_t left, int32_t right) const {
  uint64_t pair = makePair(left, right);
  for (uint64_t slot = mix(pair) & mergeMask;; slot = (slot + 1) & mergeMask) {
    if (merges[slot].pair == pair)
      return merges[slot].result;
    if (merges[slot].pair == none)
      return none;
  }
}

static size_t jointIndex(char32_t left, char32_t right, size_t size) {
  return mix(static_cast<uint64_t>(left) << 32 | right) & (size - 1);
}

bool Bpe::mayJoin(char32_t left, char32_t right) const {
  return joints[jointIndex(left, right, joints.size())];
}

static char32_t lastCodePoint(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (text[at] & 0xC0) == 0x80)
    --at;
  return nextCodePoint(text, at);
}

void Bpe::addMerges(const nlohmann::json &list) {
  size_t capacity = 16;
  while (capacity < list.size() * 2)
    capacity *= 2;
  merges.assign(capacity, {none, none});
  mergeMask = capacity - 1;
  joints.assign(size_t(1) << 16, false);

  uint64_t rank = 0;
  std::string joined;
  for (const json::Json &entry : list) {
    std::string_view left, right;
    if (entry.is_string()) {
      std::string_view both = entry.get_ref<const std::string &>();
      size_t space = both.find(' ');
      if (space == std::string_view::npos ||
          both.find(' ', space + 1) != std::string_view::npos)
        throw Error(
            "{}: merge {} must be two tokens with one space between, not '{}'",
            where, rank, both);
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else if (entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
               entry[1].is_string()) {
      left = entry[0].get_ref<const std::string &>();
      right = entry[1].get_ref<const std::string &>();
    } else {
      throw Error("{}: merge {} is neither a string nor a pair of strings",
                  where, rank);
    }
    if (right.size() < prefix.size())
      throw Error(
          "{}: merge {} has '{}', which lacks the continuing_subword_prefix",
          where, rank, right);
    joined.assign(left).append(right.substr(prefix.size()));
    auto leftId = find(left), rightId = find(right), id = find(joined);
    if (!leftId || !rightId || !id)
      throw Error(
          "{}: merge {} needs the token '{}', which the vocabulary lacks",
          where, rank,
          !leftId    ? left
          : !rightId ? right
                     : std::string_view(joined));
    if (!left.empty() && !right.empty()) {
      size_t first = 0;
      char32_t after = nextCodePoint(right, first);
      joints[jointIndex(lastCodePoint(left), after, joints.size())] = true;
    }
    insertMerge(makePair(*leftId, *rightId),
                rank++ << 32 | static_cast<uint32_t>(*id));
  }
}

void Bpe::forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const {
  for (const auto &[token, id] : ids)
    sink(token, id);
}

Bpe::Bpe(const nlohmann::json &description, bool wordsAreBytes)
    : ids(readVocabulary(description)), wordsAreBytes(wordsAreBytes) {
  if (const json::Json &dropout = json::member(description, "dropout");
      !dropout.is_null() && !(dropout.is_number() && dropout.get<double>() == 0))
    throw Error("{}: random omission of merges ('dropout') is not supported", where);
  auto text = [&](const char *key) {
    bool absent = json::member(description, key).is_null();
    return absent ? std::string() : json::string(description, key, where);
  };
  prefix = text("continuing_subword_prefix");
  suffix = text("end_of_word_suffix");
  byteFallback =
      json::boolean(description, "byte_fallback", false, where);
  fuseUnknown = json::boolean(description, "fuse_unk", false, where);
  ignoreMerges =
      json::boolean(description, "ignore_merges", false, where);
  if (std::string unknown = text("unk_token"); !unknown.empty()) {
    auto id = find(unknown);
    if (!id)
      throw Error("{}: the vocabulary lacks the unk_token '{}'", where,
                  unknown);
    this->unknown = *id;
  }

  for (int byte = 0; byte < 256; ++byte) {
    byteSymbols[byte] =
        find(bytelevel::characters()[byte]).value_or(-1);
    if (byte < 128)
      asciiSymbols[byte] =
          find(std::string(1, static_cast<char>(byte))).value_or(-1);
  }
  if (wordsAreBytes && ignoreMerges)
    for (const auto &[token, id] : ids)
      if (bytelevel::isEncoded(token))
        byteWords.emplace(bytelevel::decode(token), id);
  fallbackBytes = findByteTokens([this](std::string_view token) { return find(token); });
  addMerges(json::list(description, "merges", where));
}

//===----------------------------------------------------------------------===//
// Symbols
//===----------------------------------------------------------------------===//

int32_t Bpe::symbolOf(std::string_view character) const {
  if (character.size() == 1)
    return asciiSymbols[character[0] & 0x7F];
  return find(character).value_or(-1);
}

void Bpe::appendSymbols(std::string_view word,
                        std::vector<int32_t> &symbols) const {
  bool unknownPending = false;
  auto addUnknown = [&] {
    if (unknown < 0)
      return; // As in Hugging Face's library, such characters vanish.
    if (unknownPending && !fuseUnknown)
      symbols.push_back(unknown);
    unknownPending = true;
  };
  auto add = [&](int32_t symbol) {
    if (unknownPending)
      symbols.push_back(unknown);
    unknownPending = false;
    symbols.push_back(symbol);
  };
  auto fallBack = [&](std::string_view bytes) {
    for (unsigned char byte : bytes)
      if (fallbackBytes[byte] < 0)
        return false;
    for (unsigned char byte : bytes)
      symbols.push_back(fallbackBytes[byte]);
    return true;
  };

  bool plain = prefix.empty() && suffix.empty();
  std::string decorated;
  for (size_t i = 0; i < word.size();) {
    size_t length = wordsAreBytes ? 1 : codePointLength(word[i]);
    std::string_view character = word.substr(i, length);
    int32_t symbol;
    if (wordsAreBytes)
      symbol = byteSymbols[static_cast<unsigned char>(word[i])];
    else if (plain)
      symbol = symbolOf(character);
    if (!plain || (wordsAreBytes && symbol < 0)) {
      decorated = i == 0 ? "" : prefix;
      if (wordsAreBytes)
        decorated +=
            bytelevel::characters()[static_cast<unsigned char>(word[i])];
      else
        decorated += character;
      if (i + length == word.size())
        decorated += suffix;
      character = decorated;
      symbol = find(decorated).value_or(-1);
    }
    i += length;
    if (symbol >= 0)
      add(symbol);
    else if (!byteFallback || !fallBack(character))
      addUnknown();
  }
  if (unknownPending)
    symbols.push_back(unknown);
}

//===----------------------------------------------------------------------===//
// Session
//===----------------------------------------------------------------------===//

class Bpe::Session : public TokenModel::Session {
public:
  explicit Session(const Bpe &model) : model(model) {}
  void encode(std::string_view word, std::vector<int64_t> &ids) override;

private:
  /// A pair that could be merged, as it was when it was queued.
  struct Candidate {
    uint64_t result; ///< As in MergeSlot.
    uint32_t left;
    int32_t leftSymbol, rightSymbol;

    /// The heap's top is the lowest rank, then the leftmost.
    bool operator<(const Candidate &other) const {
      uint64_t rank = result >> 32, otherRank = other.result >> 32;
      return rank != otherRank ? rank > otherRank : left > other.left;
    }
  };

  /// A symbol in a doubly linked list.
  struct Node {
    int32_t symbol; ///< -1 once merged into its left neighbour.
    uint32_t previous, next;
  };

  void encodeCached(std::string_view word, std::vector<int64_t> &ids);
  void encodeWhole(std::string_view word);
  void mergeShort();
  void mergeLong();

  const Bpe &model;
  std::vector<int32_t> symbols;
  std::vector<uint64_t> pairs;
  std::vector<Node> nodes;
  std::vector<Candidate> queue;
  WordCache cache;
};

std::unique_ptr<TokenModel::Session> Bpe::makeSession() const {
  return std::make_unique<Session>(*this);
}

/// Merges `symbols` pair by pair in place.
void Bpe::Session::mergeShort() {
  size_t count = symbols.size();
  pairs.resize(count);
  for (size_t i = 0; i + 1 < count; ++i)
    pairs[i] = model.merge(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (pairs[i] >> 32 < pairs[best] >> 32)
        best = i;
    if (pairs[best] == none)
      break;
    symbols[best] = lowerHalf(pairs[best]);
    std::copy(symbols.begin() + best + 2, symbols.begin() + count,
              symbols.begin() + best + 1);
    std::copy(pairs.begin() + best + 2, pairs.begin() + count,
              pairs.begin() + best + 1);
    --count;
    if (best + 1 < count)
      pairs[best] = model.merge(symbols[best], symbols[best + 1]);
    if (best > 0)
      pairs[best - 1] = model.merge(symbols[best - 1], symbols[best]);
  }
  symbols.resize(count);
}

/// Merges `symbols` with a heap of candidates.
void Bpe::Session::mergeLong() {
  constexpr uint32_t end = ~uint32_t(0);
  if (symbols.size() >= end)
    throw Error("a word of {} symbols is too long to encode", symbols.size());
  nodes.resize(symbols.size());
  queue.clear();
  auto propose = [&](uint32_t left) {
    uint32_t right = nodes[left].next;
    if (right == end)
      return false;
    uint64_t result = model.merge(nodes[left].symbol, nodes[right].symbol);
    if (result == none)
      return false;
    queue.push_back({result, left, nodes[left].symbol, nodes[right].symbol});
    return true;
  };
  for (uint32_t i = 0; i < nodes.size(); ++i)
    nodes[i] = {symbols[i], i == 0 ? end : i - 1,
                i + 1 == nodes.size() ? end : i + 1};
  for (uint32_t i = 0; i < nodes.size(); ++i)
    propose(i);
  std::make_heap(queue.begin(), queue.end());
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end());
    Candidate top = queue.back();
    queue.pop_back();
    Node &left = nodes[top.left];
    if (left.symbol != top.leftSymbol || left.next == end ||
        nodes[left.next].symbol != top.rightSymbol)
      continue;
    Node &right = nodes[left.next];
    left.symbol = lowerHalf(top.result);
    left.next = right.next;
    right.symbol = -1;
    if (left.next != end)
      nodes[left.next].previous = top.left;
    if (propose(top.left))
      std::push_heap(queue.begin(), queue.end());
    if (left.previous != end && propose(left.previous))
      std::push_heap(queue.begin(), queue.end());
  }
  symbols.clear();
  for (uint32_t i = 0; i != end; i = nodes[i].next)
    symbols.push_back(nodes[i].symbol);
}

/// Leaves the ids of `word` in `symbols`.
void Bpe::Session::encodeWhole(std::string_view word) {
  symbols.clear();
  model.appendSymbols(word, symbols);
  if (symbols.size() < 2)
    return;
  if (symbols.size() <= shortWord)
    mergeShort();
  else
    mergeLong();
}

void Bpe::Session::encodeCached(std::string_view word,
                                std::vector<int64_t> &ids) {
  if (cache.find(word, ids))
    return;
  encodeWhole(word);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
  cache.add(word, std::span<const int32_t>(symbols));
}

void Bpe::Session::encode(std::string_view word, std::vector<int64_t> &ids) {
  if (model.ignoreMerges) {
    const StringMap &whole = model.wordsAreBytes ? model.byteWords : model.ids;
    if (auto it = whole.find(word); it != whole.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  bool cuts =
      !model.wordsAreBytes && model.prefix.empty() && model.suffix.empty();
  if (!cuts || word.size() <= uncutWord)
    return encodeCached(word, ids);

  // Cut between characters that are tokens and that no merge joins. Characters
  // without a token stay with their neighbours, since unknown ones may fuse.
  size_t begin = 0, at = 0;
  size_t leftStart = 0;
  char32_t left = nextCodePoint(word, at);
  while (at < word.size()) {
    size_t rightStart = at;
    char32_t right = nextCodePoint(word, at);
    if (!model.mayJoin(left, right) &&
        model.symbolOf(word.substr(leftStart, rightStart - leftStart)) >= 0 &&
        model.symbolOf(word.substr(rightStart, at - rightStart)) >= 0) {
      encodeCached(word.substr(begin, rightStart - begin), ids);
      begin = rightStart;
    }
    left = right;
    leftStart = rightStart;
  }
  encodeCached(word.substr(begin), ids);
}
