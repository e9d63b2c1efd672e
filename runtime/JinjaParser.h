//===- JinjaParser.h - Syntax of chat templates -----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/JinjaValue.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlsys::rt::jinja {

struct Expression;
struct Statement;
using ExpressionPtr = std::unique_ptr<Expression>;
using Body = std::vector<Statement>;

/// An expression. What `operands` hold depends on the kind.
struct Expression {
  enum class Kind {
    Literal,     ///< value
    Name,        ///< text
    List,        ///< the items
    Tuple,       ///< the items
    Dict,        ///< key, value, key, value, ...
    Unary,       ///< text is -, + or not; one operand
    Binary,      ///< text is the operator; two operands; and, or do not always
                 ///< evaluate the second
    Compare,     ///< operators between the operands, as in a < b < c
    Conditional, ///< condition, then, else (may be null)
    Attribute,   ///< object.text
    Index,       ///< object, index
    Slice,       ///< object, start, stop, step (may be null)
    Call,        ///< callee, arguments
    Filter,      ///< object, arguments; text is the filter
    Test         ///< object, arguments; text is the test
  };
  Kind kind;
  int line;
  std::string text;
  Value value;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> operators;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  int height; ///< Of the tree below, itself included.
};

/// A statement.
struct Statement {
  enum class Kind {
    Text,     ///< text is written
    Output,   ///< expression is written
    If,       ///< expression, body, orElse
    For,      ///< names, expression, condition (may be null), body, orElse
    Set,      ///< names (or text.attribute), expression
    SetBlock, ///< names, body
    Macro,    ///< text is its name; names and defaults are its parameters; body
    Group,    ///< body alone
    Break,
    Continue
  };
  Kind kind;
  int line;
  std::string text;
  std::string attribute;
  std::vector<std::string> names;
  ExpressionPtr expression;
  ExpressionPtr condition;
  std::vector<ExpressionPtr> defaults; ///< Null for a parameter without.
  Body body, orElse;
};

/// Parses a whole template. Throws rt::Error with the line for what is wrong or
/// not supported.
Body parse(std::string_view source);

} // namespace mlsys::rt::jinja
