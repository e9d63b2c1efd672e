//===- JinjaLexer.cpp - Tokens of chat templates --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaLexer.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Chat templates are a few kilobytes; this bounds what a broken file can cost.
static constexpr size_t longestSource = size_t(1) << 20;

/// Nesting of brackets.
static constexpr size_t deepestBrackets = 200;

static bool isSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

static bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

static bool isDigit(char c) { return c >= '0' && c <= '9'; }

namespace {
class Lexer {
public:
  explicit Lexer(std::string source) : source(std::move(source)) {}
  std::vector<Token> run();

private:
  using Kind = Token::Kind;

  [[noreturn]] void fail(std::string_view message) const {
    throw Error("chat template, line {}: {}", line, message);
  }
  char at(size_t i) const { return i < source.size() ? source[i] : '\0'; }
  bool looksAt(std::string_view text) const {
    return std::string_view(source).substr(position, text.size()) == text;
  }
  void add(Kind kind, std::string text) {
    tokens.push_back({kind, std::move(text), line});
  }
  /// Moves on, counting lines.
  void advance(size_t to) {
    for (; position < to; ++position)
      line += source[position] == '\n';
  }
  void skipSpace() {
    while (position < source.size() && isSpace(source[position]))
      advance(position + 1);
  }
  void text(size_t end, char sign, bool isOutput);
  void finishTag(std::string_view close, bool trimsNewline);
  bool atTagEnd(std::string_view close) const;
  void comment();
  bool raw();
  void tag(bool isOutput);
  void expressionToken(std::string &brackets);
  void string();
  void number();

  std::string source;
  size_t position = 0;
  int line = 1;
  /// Nothing but what a tag swallowed stands before, on this line.
  bool lineStarting = true;
  std::vector<Token> tokens;
};
} // namespace

/// Adds the text up to a tag at `end`, whose sign decides about the space
/// before.
void Lexer::text(size_t end, char sign, bool isOutput) {
  std::string_view part =
      std::string_view(source).substr(position, end - position);
  if (sign == '-') {
    while (!part.empty() && isSpace(part.back()))
      part.remove_suffix(1);
  } else if (sign != '+' && !isOutput) {
    size_t lineBegin = part.rfind('\n') + 1;
    bool blank = true;
    for (char c : part.substr(lineBegin))
      blank &= isSpace(c);
    if ((lineBegin > 0 || lineStarting) && blank)
      part = part.substr(0, lineBegin);
  }
  if (!part.empty())
    add(Kind::Text, std::string(part));
  advance(end);
}

/// True at `close`, or at it with a sign before.
bool Lexer::atTagEnd(std::string_view close) const {
  if (looksAt(close))
    return true;
  return (at(position) == '-' || (at(position) == '+' && close != "}}")) &&
         std::string_view(source).substr(position + 1, close.size()) == close;
}

/// Moves behind the end of a tag and the space it swallows.
void Lexer::finishTag(std::string_view close, bool trimsNewline) {
  char sign = looksAt(close) ? '\0' : at(position);
  size_t begin = position;
  advance(position + close.size() + (sign != '\0'));
  if (sign == '-')
    skipSpace();
  else if (sign == '\0' && trimsNewline && at(position) == '\n')
    advance(position + 1);
  lineStarting = position > begin && source[position - 1] == '\n';
}

void Lexer::comment() {
  size_t inside = position + 2;
  if (at(inside) == '-' || at(inside) == '+')
    ++inside;
  size_t end = source.find("#}", inside);
  if (end == std::string::npos)
    fail("a comment has no end");
  size_t sign =
      end > inside && (source[end - 1] == '-' || source[end - 1] == '+');
  advance(end - sign);
  finishTag("#}", true);
}

/// Takes a raw block, if one begins here.
bool Lexer::raw() {
  auto keyword = [&](size_t i, std::string_view name, size_t &end) {
    if (at(i) == '-' || at(i) == '+')
      ++i;
    while (isSpace(at(i)))
      ++i;
    if (std::string_view(source).substr(i, name.size()) != name)
      return false;
    i += name.size();
    while (isSpace(at(i)))
      ++i;
    end = i;
    return at(i) == '%' || at(i + 1) == '%';
  };
  size_t end;
  if (!keyword(position + 2, "raw", end))
    return false;
  advance(end);
  if (!atTagEnd("%}"))
    fail("raw takes nothing more");
  finishTag("%}", false);
  for (size_t close = position;; close += 2) {
    close = source.find("{%", close);
    if (close == std::string::npos)
      fail("a raw block has no end");
    if (!keyword(close + 2, "endraw", end))
      continue;
    lineStarting = false;
    text(close, at(close + 2), false);
    advance(end);
    if (!atTagEnd("%}"))
      fail("endraw takes nothing more");
    finishTag("%}", true);
    return true;
  }
}

void Lexer::string() {
  char quote = source[position];
  int begin = line;
  std::string value;
  advance(position + 1);
  auto hex = [&](size_t digits) {
    char32_t code = 0;
    for (size_t i = 0; i < digits; ++i) {
      char c = at(position);
      int digit = isDigit(c)             ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
      if (digit < 0)
        fail("a string has a broken escape");
      code = code << 4 | digit;
      advance(position + 1);
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000))
      fail("a string has an escape that is no character");
    appendUtf8(value, code);
  };
  while (at(position) != quote || position >= source.size()) {
    if (position >= source.size()) {
      line = begin;
      fail("a string has no end");
    }
    char c = source[position];
    advance(position + 1);
    if (c != '\\') {
      value += c;
      continue;
    }
    char escape = at(position);
    advance(position + (position < source.size()));
    static constexpr std::string_view names = "abfnrtv",
                                      codes = "\a\b\f\n\r\t\v";
    if (size_t which = names.find(escape);
        which != std::string_view::npos && escape)
      value += codes[which];
    else if (escape == '\\' || escape == '\'' || escape == '"')
      value += escape;
    else if (escape == 'x')
      hex(2);
    else if (escape == 'u')
      hex(4);
    else if (escape == 'U')
      hex(8);
    else if (escape == '0' && !isDigit(at(position)))
      value += '\0';
    else if (isDigit(escape) || escape == 'N')
      fail("octal and named escapes in strings are not supported");
    else if (escape != '\n')
      value += {'\\', escape};
  }
  advance(position + 1);
  tokens.push_back({Kind::String, std::move(value), begin});
}

void Lexer::number() {
  std::string digits;
  // 0x1F, 0o17, 0b11.
  static constexpr std::string_view letters = "xob", all = "0123456789abcdef";
  size_t kind = letters.find(char(at(position + 1) | 0x20));
  if (at(position) == '0' && kind != std::string_view::npos) {
    size_t count = kind == 0 ? 16 : kind == 1 ? 8 : 2;
    digits = {'0', letters[kind]};
    size_t end = position + 2;
    for (;; ++end) {
      char c = at(end);
      c = c >= 'A' && c <= 'F' ? char(c | 0x20) : c;
      if (c != '_' && (c == 0 || all.substr(0, count).find(c) == std::string_view::npos))
        break;
      if (c != '_')
        digits += c;
    }
    if (digits.size() == 2)
      fail("a number has no digits");
    advance(end);
    return add(Kind::Integer, digits);
  }
  bool isFloat = false;
  auto take = [&] {
    while (isDigit(at(position)) ||
           (at(position) == '_' && isDigit(at(position + 1)))) {
      if (source[position] != '_')
        digits += source[position];
      advance(position + 1);
    }
  };
  take();
  if (at(position) == '.' && isDigit(at(position + 1))) {
    isFloat = true;
    digits += '.';
    advance(position + 1);
    take();
  }
  size_t sign = at(position + 1) == '+' || at(position + 1) == '-';
  if ((at(position) == 'e' || at(position) == 'E') &&
      isDigit(at(position + 1 + sign))) {
    isFloat = true;
    digits += source.substr(position, 1 + sign);
    advance(position + 1 + sign);
    take();
  }
  add(isFloat ? Kind::Float : Kind::Integer, digits);
}

void Lexer::expressionToken(std::string &brackets) {
  char c = source[position];
  if (isNameStart(c)) {
    size_t end = position;
    while (isNameStart(at(end)) || isDigit(at(end)))
      ++end;
    add(Kind::Name, source.substr(position, end - position));
    return advance(end);
  }
  if (isDigit(c))
    return number();
  if (c == '"' || c == '\'')
    return string();
  for (std::string_view two : {"==", "!=", "<=", ">=", "//", "**"})
    if (looksAt(two)) {
      add(Kind::Operator, std::string(two));
      return advance(position + 2);
    }
  if (std::string_view("+-*/%~<>=.,:|()[]{}").find(c) == std::string_view::npos)
    fail(fmt::format("the character '{}' is not expected here",
                     source.substr(position, codePointLength(c))));
  size_t open = std::string_view("([{").find(c),
         close = std::string_view(")]}").find(c);
  if (open != std::string_view::npos) {
    if (brackets.size() >= deepestBrackets)
      fail("brackets nest too deep");
    brackets += ")]}"[open];
  } else if (close != std::string_view::npos) {
    if (brackets.empty() || brackets.back() != c)
      fail(fmt::format("'{}' closes nothing", c));
    brackets.pop_back();
  }
  add(Kind::Operator, std::string(1, c));
  advance(position + 1);
}

/// Takes an output or a block tag, from behind its opening.
void Lexer::tag(bool isOutput) {
  add(isOutput ? Kind::OutputBegin : Kind::BlockBegin, "");
  int begin = line;
  advance(position + 2);
  if (at(position) == '-' || at(position) == '+')
    advance(position + 1);
  std::string_view close = isOutput ? "}}" : "%}";
  std::string brackets;
  for (;;) {
    skipSpace();
    if (position >= source.size()) {
      line = begin;
      fail(fmt::format("a tag has no '{}'", close));
    }
    if (brackets.empty() && atTagEnd(close))
      break;
    expressionToken(brackets);
  }
  add(isOutput ? Kind::OutputEnd : Kind::BlockEnd, "");
  finishTag(close, !isOutput);
}

std::vector<Token> Lexer::run() {
  while (position < source.size()) {
    size_t begin = position;
    char kind = 0;
    for (; (begin = source.find('{', begin)) != std::string::npos; ++begin)
      if (char c = at(begin + 1); c == '{' || c == '%' || c == '#') {
        kind = c;
        break;
      }
    if (!kind) {
      add(Kind::Text, source.substr(position));
      advance(source.size());
      break;
    }
    text(begin, at(begin + 2), kind == '{');
    if (kind == '#')
      comment();
    else if (kind == '{' || !raw())
      tag(kind == '{');
  }
  add(Kind::End, "");
  return std::move(tokens);
}

std::vector<Token> jinja::tokenize(std::string_view text) {
  if (text.size() > longestSource)
    throw Error("the chat template has {} bytes; at most {} are supported",
                text.size(), longestSource);
  if (!isValidUtf8(text))
    throw Error("the chat template is not UTF-8");
  std::string source;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && text.substr(i + 1, 1) == "\n")
      continue;
    source += text[i] == '\r' ? '\n' : text[i];
  }
  // One newline at the end of the file is not part of the text.
  if (source.ends_with('\n'))
    source.pop_back();
  return Lexer(std::move(source)).run();
}
