//===- PatternParser.cpp - Patterns as trees ------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/PatternParser.h"

#include "runtime/Utf8.h"

using namespace mlsys::rt;
using namespace mlsys::rt::pattern;

namespace {

/// What makes Scanner leave a pattern to the general engine.
struct NotTaken {};

/// The options that are on.
struct Flags {
  bool caseless = false, dotAll = false;
};

class Parser {
public:
  explicit Parser(std::string_view text) : text(text) {}

  std::vector<Sequence> parseAll() {
    std::vector<Sequence> result = parseAlternatives({}, 0);
    if (at != text.size())
      throw NotTaken();
    return result;
  }

private:
  static constexpr int deepest = 50;

  bool atEnd() const { return at >= text.size(); }
  bool looksAt(std::string_view what) const { return text.substr(at).starts_with(what); }
  bool accept(std::string_view what) {
    if (!looksAt(what))
      return false;
    at += what.size();
    return true;
  }
  char32_t take() {
    if (atEnd())
      throw NotTaken();
    return nextCodePoint(text, at);
  }

  std::vector<Sequence> parseAlternatives(Flags flags, int depth);
  Sequence parseSequence(Flags flags, int depth);
  std::optional<Item> parseGroup(Flags flags, int depth);
  void parseQuantifier(Item &item);
  bool parseBounds(Item &item);
  Item parseEscape(Flags flags);
  bool parseClassEscape(char32_t c, CharacterSet &set);
  char32_t parseCharacterEscape(char32_t c);
  char32_t parseHex(size_t digits);
  void parseProperty(bool negated, CharacterSet &set);
  CharacterSet parseClass(Flags flags, int depth);
  static void addCharacter(CharacterSet &set, char32_t first, char32_t last, Flags flags);

  std::string_view text;
  size_t at = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Sets
//===----------------------------------------------------------------------===//

static void addWhiteSpace(CharacterSet &set) {
  for (auto range : {std::pair<char32_t, char32_t>{9, 13}, {0x20, 0x20}, {0x85, 0x85},
                     {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
                     {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}})
    set.ranges.push_back(range);
}

/// Adds what a class such as \s stands for; false when `c` names none.
bool Parser::parseClassEscape(char32_t c, CharacterSet &set) {
  CharacterSet named;
  switch (c) {
  case 's':
  case 'S':
    addWhiteSpace(named);
    break;
  case 'd':
  case 'D':
    named.categories = unicode::maskOf(unicode::Category::Nd);
    break;
  case 'w':
  case 'W':
    named.wordCharacters = true;
    break;
  case 'h':
  case 'H':
    named.ranges = {{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
    break;
  case 'p':
  case 'P':
    parseProperty(c == 'P', named);
    set.parts.push_back(std::move(named));
    return true;
  default:
    return false;
  }
  named.negated = c < 'a';
  set.parts.push_back(std::move(named));
  return true;
}

void Parser::parseProperty(bool negated, CharacterSet &set) {
  if (!accept("{"))
    throw NotTaken();
  size_t close = text.find('}', at);
  if (close == std::string_view::npos)
    throw NotTaken();
  std::string_view name = text.substr(at, close - at);
  at = close + 1;
  if (name.starts_with('^')) {
    negated = !negated;
    name.remove_prefix(1);
  }
  if (auto mask = unicode::findCategories(name))
    set.categories = *mask;
  else if (auto script = unicode::findScript(name))
    set.scripts = {*script};
  else
    throw NotTaken();
  set.negated = negated;
}

/// The character of an escape that stands for one.
char32_t Parser::parseCharacterEscape(char32_t c) {
  switch (c) {
  case 'n':
    return '\n';
  case 'r':
    return '\r';
  case 't':
    return '\t';
  case 'f':
    return '\f';
  case 'v':
    return '\v';
  case 'a':
    return '\a';
  case 'e':
    return 0x1B;
  case 'u':
    return parseHex(4);
  case 'x': {
    if (!accept("{"))
      return parseHex(2);
    size_t close = text.find('}', at);
    if (close == std::string_view::npos || close == at || close - at > 8)
      throw NotTaken();
    char32_t value = parseHex(close - at);
    ++at;
    return value;
  }
  default:
    if (c < 0x80 && (isdigit(static_cast<int>(c)) || isalpha(static_cast<int>(c))))
      throw NotTaken();
    return c;
  }
}

char32_t Parser::parseHex(size_t digits) {
  char32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    char32_t c = take();
    if (c >= 0x80 || !isxdigit(static_cast<int>(c)))
      throw NotTaken();
    value = value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
  }
  // A byte above 0x7F would be part of a character.
  if (value > 0x10FFFF || (digits == 2 && value > 0x7F && text[at - 1] != '}'))
    throw NotTaken();
  return value;
}

/// Adds a range, and without regard to case the counterparts of its members.
void Parser::addCharacter(CharacterSet &set, char32_t first, char32_t last, Flags flags) {
  if (first > last)
    throw NotTaken();
  set.ranges.push_back({first, last});
  if (!flags.caseless)
    return;
  if (last >= 0x80)
    throw NotTaken();
  for (char32_t c = first; c <= last; ++c) {
    char32_t lower = c | 0x20;
    if (lower < 'a' || lower > 'z')
      continue;
    set.ranges.push_back({c ^ 0x20, c ^ 0x20});
    if (lower == 's')
      set.ranges.push_back({0x17F, 0x17F});
    if (lower == 'k')
      set.ranges.push_back({0x212A, 0x212A});
  }
}

/// A class behind its opening bracket.
CharacterSet Parser::parseClass(Flags flags, int depth) {
  if (depth > deepest)
    throw NotTaken();
  CharacterSet whole;
  CharacterSet set;
  bool negated = accept("^");
  bool isFirst = true;
  std::vector<CharacterSet> limits;
  for (;; isFirst = false) {
    if (looksAt("]") && !isFirst) {
      ++at;
      break;
    }
    if (accept("&&")) {
      limits.push_back(std::exchange(set, {}));
      continue;
    }
    if (looksAt("[:"))
      throw NotTaken();
    if (accept("[")) {
      set.parts.push_back(parseClass(flags, depth + 1));
      continue;
    }
    char32_t first = take();
    if (first == '\\') {
      first = take();
      if (parseClassEscape(first, set)) {
        // Without regard to case, a property would have to grow.
        if (flags.caseless && (first == 'p' || first == 'P'))
          throw NotTaken();
        continue;
      }
      if (first == 'b')
        throw NotTaken();
      first = parseCharacterEscape(first);
    }
    char32_t last = first;
    if (looksAt("-") && !text.substr(at + 1).starts_with("]")) {
      ++at;
      last = take();
      if (last == '[')
        throw NotTaken();
      if (last == '\\') {
        last = take();
        if (std::u32string_view(U"sSdDwWhHpPb").find(last) != std::u32string_view::npos)
          throw NotTaken();
        last = parseCharacterEscape(last);
      }
    }
    addCharacter(set, first, last, flags);
  }
  if (limits.empty()) {
    whole = std::move(set);
  } else {
    whole = std::move(limits[0]);
    for (size_t i = 1; i < limits.size(); ++i)
      whole.limits.push_back(std::move(limits[i]));
    whole.limits.push_back(std::move(set));
  }
  whole.negated = negated;
  return whole;
}

//===----------------------------------------------------------------------===//
// Items
//===----------------------------------------------------------------------===//

Item Parser::parseEscape(Flags flags) {
  Item item;
  char32_t c = take();
  switch (c) {
  case 'b':
  case 'B':
    item.kind = Kind::WordEdge;
    item.negated = c == 'B';
    return item;
  case 'A':
    item.kind = Kind::TextBegin;
    return item;
  case 'z':
    item.kind = Kind::TextEnd;
    return item;
  default:
    break;
  }
  if (parseClassEscape(c, item.set)) {
    if (flags.caseless && (c == 'p' || c == 'P'))
      throw NotTaken();
    // Oniguruma has a table of its own for Latin-1, which classes do not use.
    if (c == 'w' || c == 'W')
      item.set.parts.back().ranges = {{0xB2, 0xB3}, {0xB9, 0xB9}, {0xBC, 0xBE}};
    return item;
  }
  c = parseCharacterEscape(c);
  addCharacter(item.set, c, c, flags);
  return item;
}

/// True when some alternatives, without regard to case, also match one
/// character of another length, such as a sharp s.
static bool mayFoldTogether(std::string_view literals) {
  for (const char *pair : {"ss", "ff", "fi", "fl", "st"})
    if (literals.find(pair) != std::string_view::npos)
      return true;
  return false;
}

Sequence Parser::parseSequence(Flags flags, int depth) {
  Sequence sequence;
  std::string literals;
  while (!atEnd() && !looksAt("|") && !looksAt(")")) {
    Item item;
    if (accept("(")) {
      std::optional<Item> group = parseGroup(flags, depth);
      literals += ' ';
      if (!group)
        continue;
      item = std::move(*group);
    } else if (accept("[")) {
      item.set = parseClass(flags, depth + 1);
      literals += ' ';
    } else {
      char32_t c = take();
      literals += c < 0x80 ? static_cast<char>(c | 0x20) : ' ';
      if (c == '\\') {
        item = parseEscape(flags);
      } else if (c == '.') {
        item.set.negated = true;
        if (!flags.dotAll)
          item.set.ranges = {{'\n', '\n'}};
      } else if (c == '^') {
        item.kind = Kind::LineBegin;
      } else if (c == '$') {
        item.kind = Kind::LineEnd;
      } else if (c == '*' || c == '+' || c == '?') {
        throw NotTaken();
      } else {
        addCharacter(item.set, c, c, flags);
      }
    }
    parseQuantifier(item);
    sequence.push_back(std::move(item));
  }
  if (flags.caseless && mayFoldTogether(literals))
    throw NotTaken();
  return sequence;
}

std::vector<Sequence> Parser::parseAlternatives(Flags flags, int depth) {
  if (depth > deepest)
    throw NotTaken();
  std::vector<Sequence> result;
  do
    result.push_back(parseSequence(flags, depth + 1));
  while (accept("|"));
  return result;
}

/// A group behind its opening bracket; nothing for a comment.
std::optional<Item> Parser::parseGroup(Flags flags, int depth) {
  Item item;
  item.kind = Kind::Group;
  if (accept("?#")) {
    size_t close = text.find(')', at);
    if (close == std::string_view::npos)
      throw NotTaken();
    at = close + 1;
    return std::nullopt;
  }
  if (accept("?=") || looksAt("?!")) {
    item.kind = Kind::Look;
    item.negated = accept("?!");
  } else if (accept("?<=") || looksAt("?<!")) {
    item.kind = Kind::Behind;
    item.negated = accept("?<!");
  } else if (accept("?>")) {
    item.kind = Kind::Atomic;
  } else if (accept("?:")) {
  } else if (accept("?")) {
    bool value = true;
    for (;;) {
      char32_t c = take();
      if (c == '-')
        value = false;
      else if (c == 'i')
        flags.caseless = value;
      else if (c == 'm')
        flags.dotAll = value;
      else if (c == ':')
        break;
      else if (c == ')') {
        // For the rest of the group around, with all its alternatives.
        item.alternatives = parseAlternatives(flags, depth + 1);
        return item;
      } else
        throw NotTaken();
    }
  }
  item.alternatives = parseAlternatives(flags, depth + 1);
  if (!accept(")"))
    throw NotTaken();
  // A group of single characters is a set.
  if (item.kind != Kind::Group)
    return item;
  Item whole;
  for (const Sequence &sequence : item.alternatives) {
    if (sequence.size() != 1 || sequence[0].kind != Kind::Set || sequence[0].least != 1 ||
        sequence[0].most != 1)
      return item;
    whole.set.parts.push_back(sequence[0].set);
  }
  return whole;
}

/// Reads {n}, {n,}, {,m} or {n,m}; false when the brace is a character.
bool Parser::parseBounds(Item &item) {
  size_t i = at + 1;
  auto number = [&](uint32_t &value) {
    size_t from = i;
    uint64_t read = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      read = read * 10 + (text[i] - '0');
      if (read > 100000)
        throw NotTaken();
    }
    value = static_cast<uint32_t>(read);
    return i > from;
  };
  bool hasLeast = number(item.least), hasMost = hasLeast;
  item.most = item.least;
  if (i < text.size() && text[i] == ',') {
    ++i;
    hasMost = number(item.most);
    if (!hasMost)
      item.most = unlimited;
  }
  if ((!hasLeast && !hasMost) || i >= text.size() || text[i] != '}') {
    item.least = item.most = 1;
    return false;
  }
  if (item.least > item.most)
    throw NotTaken();
  at = i + 1;
  return true;
}

void Parser::parseQuantifier(Item &item) {
  bool isBounds = false;
  if (accept("*"))
    item.least = 0, item.most = unlimited;
  else if (accept("+"))
    item.most = unlimited;
  else if (accept("?"))
    item.least = 0;
  else if (looksAt("{") && parseBounds(item))
    isBounds = true;
  else if (looksAt("{"))
    throw NotTaken();
  else
    return;
  if (accept("?")) {
    item.mode = Mode::Lazy;
  } else if (looksAt("+") && isBounds) {
    // Behind bounds, a plus repeats.
    ++at;
    if (item.least > 1)
      throw NotTaken();
    item.most = unlimited;
  } else if (accept("+")) {
    item.mode = Mode::Possessive;
  }
  if (looksAt("*") || looksAt("+") || looksAt("?") || looksAt("{"))
    throw NotTaken();
  bool isOptional = item.least == 0 && item.most == 1;
  if (item.kind != Kind::Set && !(item.kind == Kind::Group && isOptional))
    throw NotTaken();
}

std::optional<std::vector<Sequence>> pattern::parse(std::string_view pattern) {
  try {
    return Parser(pattern).parseAll();
  } catch (const NotTaken &) {
    return std::nullopt;
  }
}
