//===- Scanner.cpp - A matcher for the usual patterns ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// Nodes form a graph without cycles: a node knows what follows it, and a
// repeated set is one node that walks the text by itself. So calls nest no
// deeper than the pattern is long.
#include "runtime/Scanner.h"

#include "runtime/Error.h"
#include "runtime/PatternParser.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <bit>

using namespace mlsys::rt;

/// Longer patterns are left to the general engine.
static constexpr size_t mostNodes = 2000;

//===----------------------------------------------------------------------===//
// Sets
//===----------------------------------------------------------------------===//

void CharacterSet::seal() {
  for (std::vector<CharacterSet> *list : {&parts, &limits})
    for (CharacterSet &set : *list)
      set.seal();
  for (char32_t c = 0; c < 128; ++c)
    if (find(c))
      ascii[c >> 6] |= uint64_t(1) << (c & 63);
}

bool CharacterSet::find(char32_t c) const {
  auto has = [c](const CharacterSet &set) { return set.has(c); };
  bool found = (categories && categories >> static_cast<unsigned>(unicode::category(c)) & 1) ||
               (wordCharacters && unicode::isPatternWord(c)) ||
               std::any_of(ranges.begin(), ranges.end(),
                           [c](auto range) { return c >= range.first && c <= range.second; }) ||
               (!scripts.empty() && std::find(scripts.begin(), scripts.end(),
                                              unicode::script(c)) != scripts.end()) ||
               std::any_of(parts.begin(), parts.end(), has);
  return (found && std::all_of(limits.begin(), limits.end(), has)) != negated;
}

//===----------------------------------------------------------------------===//
// Compiling
//===----------------------------------------------------------------------===//

namespace mlsys::rt {
/// Makes the nodes of a tree, from its end to its beginning.
class ScannerCompiler {
public:
  explicit ScannerCompiler(Scanner &scanner) : scanner(scanner) {}

  /// False when the pattern is too long or looks behind too much.
  bool compile(const std::vector<pattern::Sequence> &alternatives) {
    uint32_t accept = add({});
    scanner.start = choice(alternatives, accept);
    return !failed && scanner.nodes.size() <= mostNodes;
  }

private:
  using Kind = Scanner::Kind;
  using Node = Scanner::Node;

  uint32_t add(Node node) {
    if (scanner.nodes.size() > mostNodes)
      return 0;
    scanner.nodes.push_back(std::move(node));
    return static_cast<uint32_t>(scanner.nodes.size() - 1);
  }

  uint32_t addSet(const CharacterSet &set) {
    scanner.sets.push_back(set);
    scanner.sets.back().seal();
    return static_cast<uint32_t>(scanner.sets.size() - 1);
  }

  uint32_t choice(const std::vector<pattern::Sequence> &alternatives, uint32_t next) {
    if (alternatives.size() == 1)
      return sequence(alternatives[0], next);
    Node node;
    node.kind = Kind::Choice;
    for (const pattern::Sequence &alternative : alternatives)
      node.branches.push_back(sequence(alternative, next));
    return add(std::move(node));
  }

  uint32_t sequence(const pattern::Sequence &items, uint32_t next) {
    for (size_t i = items.size(); i-- > 0;)
      next = item(items[i], next);
    return next;
  }

  uint32_t item(const pattern::Item &item, uint32_t next) {
    Node node;
    node.next = next;
    node.negated = item.negated;
    node.mode = static_cast<Scanner::Mode>(item.mode);
    switch (item.kind) {
    case pattern::Kind::Set:
      node.kind = item.least == 1 && item.most == 1 ? Kind::Set : Kind::Repeat;
      node.set = addSet(item.set);
      node.least = item.least;
      node.most = item.most;
      break;
    case pattern::Kind::Group:
      return group(item, next);
    case pattern::Kind::Look:
      node.kind = Kind::Look;
      node.branches = {choice(item.alternatives, 0)};
      break;
    case pattern::Kind::Atomic:
      node.kind = Kind::Atomic;
      node.branches = {choice(item.alternatives, 0)};
      break;
    case pattern::Kind::Behind:
      node.kind = Kind::Behind;
      failed |= item.alternatives.size() != 1;
      for (const pattern::Item &before : item.alternatives[0]) {
        failed |= before.kind != pattern::Kind::Set || before.least != 1 || before.most != 1;
        node.branches.push_back(addSet(before.set));
      }
      break;
    case pattern::Kind::LineBegin:
      node.kind = Kind::LineBegin;
      break;
    case pattern::Kind::LineEnd:
      node.kind = Kind::LineEnd;
      break;
    case pattern::Kind::TextBegin:
      node.kind = Kind::TextBegin;
      break;
    case pattern::Kind::TextEnd:
      node.kind = Kind::TextEnd;
      break;
    case pattern::Kind::WordEdge:
      node.kind = Kind::WordEdge;
      break;
    }
    return add(std::move(node));
  }

  uint32_t group(const pattern::Item &item, uint32_t next) {
    if (item.least == 1)
      return choice(item.alternatives, next);
    // An optional group: with it first, or without it first.
    bool isPossessive = item.mode == pattern::Mode::Possessive;
    Node node;
    node.kind = Kind::Choice;
    uint32_t after = isPossessive ? 0 : next;
    uint32_t with = choice(item.alternatives, after);
    if (item.mode == pattern::Mode::Lazy)
      node.branches = {after, with};
    else
      node.branches = {with, after};
    uint32_t id = add(std::move(node));
    if (!isPossessive)
      return id;
    Node atomic;
    atomic.kind = Kind::Atomic;
    atomic.next = next;
    atomic.branches = {id};
    return add(std::move(atomic));
  }

  Scanner &scanner;
  bool failed = false;
};
} // namespace mlsys::rt

std::unique_ptr<const Scanner> Scanner::compile(std::string_view pattern) {
  auto alternatives = pattern::parse(pattern);
  if (!alternatives)
    return nullptr;
  auto scanner = std::make_unique<Scanner>();
  if (!ScannerCompiler(*scanner).compile(*alternatives))
    return nullptr;
  scanner->prepare();
  return scanner;
}

/// Finds out which nodes may match where a byte, or the end of the text, is.
void Scanner::prepare() {
  constexpr int end = 256;
  std::vector<bool> may(nodes.size());
  for (int byte = 0; byte <= end; ++byte) {
    // What follows a node was made before it.
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Node &node = nodes[i];
      bool hasSet = (node.kind == Kind::Set || node.kind == Kind::Repeat) && byte != end &&
                    (byte >= 0x80 || sets[node.set].has(byte));
      switch (node.kind) {
      case Kind::Accept:
        may[i] = true;
        break;
      case Kind::Set:
        may[i] = hasSet;
        break;
      case Kind::Repeat:
        may[i] = hasSet || (node.least == 0 && may[node.next]);
        break;
      case Kind::Choice:
        may[i] = std::any_of(node.branches.begin(), node.branches.end(),
                             [&](uint32_t branch) { return may[branch]; });
        break;
      case Kind::Atomic:
        may[i] = may[node.branches[0]];
        break;
      default:
        may[i] = may[node.next];
      }
    }
    if (byte == end) {
      mayBeEmpty = may[start];
      break;
    }
    const Node &first = nodes[start];
    starts[byte] = may[start];
    if (first.kind == Kind::Choice && first.branches.size() <= 64) {
      starts[byte] = 0;
      for (size_t i = 0; i < first.branches.size(); ++i)
        starts[byte] |= uint64_t(may[first.branches[i]]) << i;
    }
  }
}

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

struct Scanner::Match {
  std::string_view text;
  uint64_t steps;
  uint64_t mostSteps;

  void count(uint64_t more) {
    steps += more;
    if (steps > mostSteps)
      throw Error("a pattern fails on this text: it takes too many steps");
  }

  /// Where the character that ends at `end` begins.
  size_t before(size_t end) const {
    do
      --end;
    while ((text[end] & 0xC0) == 0x80);
    return end;
  }

  bool isWordAt(size_t at) const {
    if (at == text.size())
      return false;
    char32_t c = nextCodePoint(text, at);
    return unicode::isPatternWord(c) || c == 0xB2 || c == 0xB3 || c == 0xB9 ||
           (c >= 0xBC && c <= 0xBE);
  }
};

/// The end of a match that begins at `at` with node `id`, or none.
size_t Scanner::run(Match &match, uint32_t id, size_t at) const {
  std::string_view text = match.text;
  match.count(1);
  for (;;) {
    const Node &node = nodes[id];
    switch (node.kind) {
    case Kind::Accept:
      return at;
    case Kind::Set: {
      if (at == text.size())
        return none;
      char32_t c = nextCodePoint(text, at);
      if (!sets[node.set].has(c))
        return none;
      break;
    }
    case Kind::Repeat: {
      const CharacterSet &set = sets[node.set];
      uint32_t count = 0;
      uint32_t wanted = node.mode == Mode::Lazy ? node.least : node.most;
      size_t from = at;
      auto takeOne = [&] {
        if (at == text.size())
          return false;
        size_t next = at;
        if (!set.has(nextCodePoint(text, next)))
          return false;
        at = next;
        ++count;
        return true;
      };
      while (count < wanted && takeOne()) {
      }
      match.count((at - from) / 8);
      if (count < node.least)
        return none;
      if (node.mode == Mode::Possessive || nodes[node.next].kind == Kind::Accept)
        break;
      for (;;) {
        size_t end = run(match, node.next, at);
        if (end != none)
          return end;
        if (node.mode == Mode::Lazy) {
          if (count == node.most || !takeOne())
            return none;
        } else {
          if (count == node.least)
            return none;
          --count;
          at = match.before(at);
        }
      }
    }
    case Kind::Choice:
      for (uint32_t branch : node.branches)
        if (size_t end = run(match, branch, at); end != none)
          return end;
      return none;
    case Kind::Look:
      if ((run(match, node.branches[0], at) != none) == node.negated)
        return none;
      break;
    case Kind::Atomic:
      at = run(match, node.branches[0], at);
      if (at == none)
        return none;
      break;
    case Kind::Behind: {
      size_t begin = at;
      bool matches = true;
      for (size_t i = node.branches.size(); matches && i-- > 0;) {
        matches = begin > 0;
        if (matches) {
          begin = match.before(begin);
          size_t next = begin;
          matches = sets[node.branches[i]].has(nextCodePoint(text, next));
        }
      }
      if (matches == node.negated)
        return none;
      break;
    }
    case Kind::LineBegin:
      if (at > 0 && (text[at - 1] != '\n' || at == text.size()))
        return none;
      break;
    case Kind::LineEnd:
      if (at < text.size() && text[at] != '\n')
        return none;
      break;
    case Kind::TextBegin:
      if (at > 0)
        return none;
      break;
    case Kind::TextEnd:
      if (at < text.size())
        return none;
      break;
    case Kind::WordEdge: {
      bool isEdge = (at > 0 && match.isWordAt(match.before(at))) != match.isWordAt(at);
      if (isEdge == node.negated)
        return none;
      break;
    }
    }
    id = node.next;
  }
}

bool Scanner::find(std::string_view text, size_t from, size_t &begin, size_t &end,
                   uint64_t &steps) const {
  constexpr uint64_t stepsPerByte = 100, stepsAtLeast = 10'000'000;
  Match match{text, steps, text.size() * stepsPerByte + stepsAtLeast};
  const Node &first = nodes[start];
  bool isChoice = first.kind == Kind::Choice && first.branches.size() <= 64;
  for (size_t at = from; at < text.size();) {
    unsigned char byte = text[at];
    for (uint64_t which = starts[byte]; which; which &= which - 1) {
      size_t stop = run(match, isChoice ? first.branches[std::countr_zero(which)] : start, at);
      if (stop == none)
        continue;
      begin = at;
      end = stop;
      steps = match.steps;
      return true;
    }
    at += codePointLength(byte);
  }
  steps = match.steps;
  if (!mayBeEmpty || from > text.size() || run(match, start, text.size()) == none)
    return false;
  begin = end = text.size();
  return true;
}
