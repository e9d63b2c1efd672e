//===- Regex.h - Regular expressions of tokenizer files ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// A compiled pattern. Tokenizer files are written for Oniguruma; the few
/// constructs that mean something else to PCRE2 are rewritten. Matching is
/// bounded: a pattern that backtracks without end throws rt::Error.
class Regex {
public:
  /// Compiles `pattern`; throws rt::Error with PCRE2's reason and position.
  explicit Regex(std::string_view pattern);
  ~Regex();
  Regex(Regex &&) noexcept;
  Regex &operator=(Regex &&) noexcept;

  /// Walks over the matches in one subject, left to right, not overlapping. An
  /// empty match right behind the previous match is skipped.
  class Matches {
  public:
    /// `subject` is well-formed UTF-8 and outlives this object, as does
    /// `regex`.
    Matches(const Regex &regex, std::string_view subject);
    ~Matches();
    Matches(const Matches &) = delete;
    Matches &operator=(const Matches &) = delete;

    /// Finds the next match and its byte range; false when there is none.
    bool next(size_t &begin, size_t &end);

  private:
    const Regex &regex;
    std::string_view subject;
    void *data;
    size_t position = 0;
    size_t previousEnd = std::string_view::npos;
  };

private:
  struct Code;
  std::unique_ptr<Code> code;
};

/// `pattern` in PCRE2's syntax with the meaning that Oniguruma gives it.
std::string translateOniguruma(std::string_view pattern);

} // namespace mlsys::rt
