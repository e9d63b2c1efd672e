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
    Test,        ///< object, arguments; text is the test
    Spread,      ///< An argument *operand (text is *) or **operand (text is **)
    Captured     ///< What the body of the statement around it has written
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

/// What a value is assigned to: a name, name.attribute of a namespace, or
/// several targets, each of which takes an item.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;
};

/// The parameters and the body of a macro or a call block.
struct Callable {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExpressionPtr> defaults; ///< Null for a parameter without.
  Body body;
  /// The body uses `varargs`, `kwargs` or `caller`, and so takes them.
  bool takesVarargs = false, takesKwargs = false, takesCaller = false;
};

/// A statement.
struct Statement {
  enum class Kind {
    Text,        ///< text is written
    Output,      ///< expression is written
    If,          ///< expression, body, orElse
    For,         ///< target, expression, condition (may be null), body, orElse
    Set,         ///< target, expression
    SetBlock,    ///< target, body, expression (filters of it; may be null)
    FilterBlock, ///< body, expression (filters of it)
    With,        ///< names and values, body
    Macro,       ///< callable
    CallBlock,   ///< expression is the call; callable is its caller
    Group,       ///< body, in a scope of its own
    Break,
    Continue
  };
  Kind kind;
  int line;
  std::string text = {};
  Target target = {};
  ExpressionPtr expression = {};
  ExpressionPtr condition = {};
  std::vector<std::string> names = {};
  std::vector<ExpressionPtr> values = {};
  Body body = {}, orElse = {};
  std::unique_ptr<Callable> callable = {};
  bool isRecursive = false; ///< The loop may be called from its body.
};

/// Parses a whole template. Throws rt::Error with the line for what is wrong or
/// not supported.
Body parse(std::string_view source);

} // namespace mlsys::rt::jinja
