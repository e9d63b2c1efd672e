//===- JinjaExpressions.h - Expressions of chat templates -------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// A recursive-descent parser with the precedences of Jinja: if-else, or, and,
// not, comparisons, + and -, ~, * / // %, **, unary signs, then what follows a
// primary.
#pragma once

#include "runtime/JinjaLexer.h"
#include "runtime/JinjaParser.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mlsys::rt::jinja {

/// Parses the expressions of a template; the statements' parser builds on it.
class ExpressionParser {
protected:
  using Kind = Expression::Kind;

  explicit ExpressionParser(std::vector<Token> tokens) : tokens(std::move(tokens)) {}

  /// Counts one level of recursion for as long as it lives.
  struct Level {
    explicit Level(ExpressionParser &parser) : parser(parser) {
      if (++parser.depth > deepest)
        parser.fail("the template nests too deep");
    }
    ~Level() { --parser.depth; }
    ExpressionParser &parser;
  };

  /// The token `ahead` of the current one.
  const Token &peek(size_t ahead = 0) const {
    return tokens[std::min(position + ahead, tokens.size() - 1)];
  }
  /// Moves on behind the current token.
  Token take() {
    Token token = peek();
    position = std::min(position + 1, tokens.size() - 1);
    return token;
  }
  bool isOperator(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::Operator &&
           peek(ahead).text == text;
  }
  bool isName(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind == Token::Kind::Name && peek(ahead).text == text;
  }
  bool acceptOperator(std::string_view text) {
    return isOperator(text) ? (take(), true) : false;
  }
  bool acceptName(std::string_view text) {
    return isName(text) ? (take(), true) : false;
  }
  void expectOperator(std::string_view text) {
    if (!acceptOperator(text))
      failExpecting(text);
  }
  void expectName(std::string_view text) {
    if (!acceptName(text))
      failExpecting(text);
  }
  /// A name; `what` says which one is meant.
  std::string takeName(std::string_view what);
  void expectBlockEnd();
  /// The current token, for messages.
  std::string describe() const;
  /// Throws, naming the line.
  [[noreturn]] void fail(std::string_view message) const;
  [[noreturn]] void failExpecting(std::string_view text) const;

  /// An expression, or several with commas between.
  ExpressionPtr parseTuple();
  ExpressionPtr parseExpression() { return parseConditional(); }
  /// An expression without an if of its own.
  ExpressionPtr parseOr();
  ExpressionPtr parseUnary(bool withFilters);
  /// A filter of `object`, from its name on, and those behind it.
  ExpressionPtr parseFilter(ExpressionPtr object);
  ExpressionPtr parseFilters(ExpressionPtr object);

  ExpressionPtr make(Kind kind, std::string text = "") const {
    return ExpressionPtr(
        new Expression{kind, peek().line, std::move(text), {}, {}, {}, {}, 1});
  }
  /// Makes `child` the last operand of `node`; bounds the height of the tree.
  void adopt(Expression &node, ExpressionPtr child);

  std::vector<Token> tokens;
  size_t position = 0;

private:
  /// Nesting of statements and expressions, which bounds the stack.
  static constexpr int deepest = 100;

  ExpressionPtr literal(Value value) const {
    ExpressionPtr result = make(Kind::Literal);
    result->value = std::move(value);
    return result;
  }
  ExpressionPtr join(ExpressionPtr node, ExpressionPtr left,
                     ExpressionPtr right);
  ExpressionPtr parseConditional();
  ExpressionPtr parseAnd();
  ExpressionPtr parseNot();
  ExpressionPtr parseCompare();
  ExpressionPtr parseBinary(int level);
  ExpressionPtr parsePrimary();
  ExpressionPtr parseDict();
  ExpressionPtr parsePostfix(ExpressionPtr object);
  ExpressionPtr parseSubscript(ExpressionPtr object);
  ExpressionPtr parseTest(ExpressionPtr object);
  void parseArguments(Expression &call);

  int depth = 0;
};

} // namespace mlsys::rt::jinja
