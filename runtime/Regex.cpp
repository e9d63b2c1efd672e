//===- Regex.cpp - Regular expressions of tokenizer files -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/Regex.h"

#include "runtime/Error.h"
#include "runtime/Utf8.h"

#include <pcre2.h>

using namespace mlsys::rt;

/// Steps after which a match is given up: far above what any line of text
/// needs.
static constexpr uint32_t matchLimit = 20'000'000;

/// Memory in KiB that backtracking may take.
static constexpr uint32_t heapLimit = 64 * 1024;

struct Regex::Code {
  pcre2_code *compiled = nullptr;
  pcre2_match_context *context = nullptr;
  std::string pattern;

  ~Code() {
    pcre2_match_context_free(context);
    pcre2_code_free(compiled);
  }
};

/// The White_Space code points, as the inside of a class.
static const char *const spaces =
    R"(\t-\r\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

/// Word characters, as the inside of a class.
static const char *const wordCharacters = R"(\p{L}\p{M}\p{Nd}\p{Pc})";

std::string mlsys::rt::translateOniguruma(std::string_view pattern) {
  std::string out;
  int classDepth = 0;
  auto escape = [&](char c) {
    const char *members = nullptr;
    if (c == 's' || c == 'S')
      members = spaces;
    else if (c == 'w' || c == 'W')
      members = wordCharacters;
    else if (c == 'h' || c == 'H')
      members = "0-9a-fA-F";
    bool negated = c == 'S' || c == 'W' || c == 'H';
    if (!members || (negated && classDepth > 0))
      out += {'\\', c};
    else if (classDepth > 0)
      out += members;
    else
      out.append(negated ? "[^" : "[").append(members).append("]");
  };
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (classDepth > 0 && pattern.substr(i, 2) == "&&")
      throw Error("the pattern '{}' intersects character classes, which is not supported", pattern);
    if (c == '\\' && i + 1 < pattern.size()) {
      escape(pattern[++i]);
    } else if (c == '[') {
      if (classDepth > 0 && pattern.substr(i, 2) != "[:")
        throw Error("the pattern '{}' nests character classes, which is not "
                    "supported",
                    pattern);
      if (classDepth > 0) { // [:name:]
        size_t close = pattern.find(":]", i);
        if (close == std::string_view::npos)
          throw Error("the pattern '{}' has an unfinished [:name:]", pattern);
        out += pattern.substr(i, close + 2 - i);
        i = close + 1;
        continue;
      }
      ++classDepth;
      out += c;
      if (pattern.substr(i + 1, 1) == "^")
        out += pattern[++i];
      if (pattern.substr(i + 1, 1) == "]") {
        out += "\\]";
        ++i;
      }
    } else if (c == ']' && classDepth > 0) {
      --classDepth;
      out += c;
    } else if (classDepth == 0 && pattern.substr(i, 2) == "(?") {
      // Ruby's m lets the dot match a newline, which PCRE2 calls s.
      out += "(?";
      i += 2;
      size_t flags = i;
      while (flags < pattern.size() &&
             std::string_view("imx-").find(pattern[flags]) !=
                 std::string_view::npos)
        ++flags;
      bool isFlags = flags < pattern.size() && flags > i &&
                     (pattern[flags] == ')' || pattern[flags] == ':');
      if (isFlags)
        for (; i < flags; ++i)
          out += pattern[i] == 'm' ? 's' : pattern[i];
      --i;
    } else {
      out += c;
    }
  }
  return out;
}

static std::string describe(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char *>(text);
}

Regex::Regex(std::string_view pattern, Engine engine) {
  if (engine == Engine::Fastest && (scanner = Scanner::compile(pattern)))
    return;
  code = std::make_unique<Code>();
  code->pattern = pattern;
  std::string translated = translateOniguruma(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // In Oniguruma ^ and $ match at every line.
  code->compiled = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
      &offset, nullptr);
  if (!code->compiled)
    throw Error("the pattern '{}' cannot be compiled: {} at byte {}",
                translated, describe(error), offset);
  // Without JIT (some platforms) matching falls back to the interpreter.
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE);
  code->context = pcre2_match_context_create(nullptr);
  if (!code->context)
    throw Error("out of memory for the pattern '{}'", pattern);
  pcre2_set_match_limit(code->context, matchLimit);
  pcre2_set_heap_limit(code->context, heapLimit);
}

Regex::~Regex() = default;
Regex::Regex(Regex &&) noexcept = default;
Regex &Regex::operator=(Regex &&) noexcept = default;

Regex::Matches::Matches(const Regex &regex, std::string_view subject)
    : regex(regex), subject(subject) {
  if (regex.scanner)
    return;
  data = pcre2_match_data_create(1, nullptr);
  if (!data)
    throw Error("out of memory for the pattern '{}'", regex.code->pattern);
}

Regex::Matches::~Matches() {
  pcre2_match_data_free(static_cast<pcre2_match_data *>(data));
}

/// The first match at or behind `position`.
bool Regex::Matches::find(size_t &begin, size_t &end) {
  return regex.scanner ? regex.scanner->find(subject, position, begin, end, steps)
                       : findWithPcre(begin, end);
}

bool Regex::Matches::findWithPcre(size_t &begin, size_t &end) {
  auto *match = static_cast<pcre2_match_data *>(data);
  auto *text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  auto run = [&](uint32_t options) {
    return pcre2_match(regex.code->compiled, text, subject.size(), position,
                       PCRE2_NO_UTF_CHECK | options, match, regex.code->context);
  };
  int found = run(0);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT)
    found = run(PCRE2_NO_JIT);
  if (found == PCRE2_ERROR_NOMATCH)
    return false;
  if (found < 0)
    throw Error("the pattern '{}' fails on this text: {}", regex.code->pattern, describe(found));
  const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(match);
  begin = ovector[0];
  end = ovector[1];
  if (begin > end)
    throw Error("the pattern '{}' uses \\K in an assertion, which is not supported",
                regex.code->pattern);
  return true;
}

bool Regex::Matches::next(size_t &begin, size_t &end) {
  while (position <= subject.size() && find(begin, end)) {
    if (begin == end && end == previousEnd) {
      position = end < subject.size() ? end + codePointLength(subject[end]) : end + 1;
      continue;
    }
    position = previousEnd = end;
    return true;
  }
  return false;
}
