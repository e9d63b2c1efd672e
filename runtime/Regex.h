//===- Regex.h - Regular expressions of tokenizer files ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/Scanner.h"

#include <memory>
#include <string>
#include <string_view>

namespace mlsys::rt {

/// A compiled pattern. Tokenizer files are written for Oniguruma. A Scanner
/// matches what it takes; the rest goes to PCRE2, with the few constructs that
/// mean something else there rewritten. Matching is bounded: a pattern that
/// backtracks without end throws rt::Error.
class Regex {
public:
  /// What matches a pattern.
  enum class Engine { Fastest, Pcre };

  /// Compiles `pattern`; throws rt::Error with PCRE2's reason and position.
  explicit Regex(std::string_view pattern, Engine engine = Engine::Fastest);
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
    bool find(size_t &begin, size_t &end);
    bool findWithPcre(size_t &begin, size_t &end);

    const Regex &regex;
    std::string_view subject;
    void *data = nullptr;
    uint64_t steps = 0;
    size_t position = 0;
    size_t previousEnd = std::string_view::npos;
  };

  /// True when a Scanner does the matching.
  bool isScanned() const { return scanner != nullptr; }

private:
  struct Code;
  std::unique_ptr<const Scanner> scanner;
  std::unique_ptr<Code> code;
};

/// `pattern` in PCRE2's syntax with the meaning that Oniguruma gives it.
std::string translateOniguruma(std::string_view pattern);

} // namespace mlsys::rt
