//===- JinjaLexer.h - Tokens of chat templates ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt::jinja {

/// A token of a template.
struct Token {
  enum class Kind {
    Text,        ///< What stands outside of tags; `text` is to be written.
    OutputBegin, ///< {{
    OutputEnd,   ///< }}
    BlockBegin,  ///< {%
    BlockEnd,    ///< %}
    Name,
    String, ///< `text` is what the literal stands for.
    Integer,
    Float,
    Operator,
    End
  };
  Kind kind;
  std::string text;
  int line; ///< From 1.
};

/// Splits a template into tokens, the last of which is End. White space around
/// tags goes as trim_blocks and lstrip_blocks say, which Hugging Face sets.
/// Throws rt::Error with the line.
std::vector<Token> tokenize(std::string_view source);

} // namespace mlsys::rt::jinja
