//===- JinjaExpressions.cpp - Expressions of chat templates -----*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaExpressions.h"

#include "runtime/Error.h"

#include <algorithm>
#include <charconv>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Height of an expression's tree, which bounds the stack of those who walk it.
static constexpr int highest = 300;

void ExpressionParser::fail(std::string_view message) const {
  throw Error("chat template, line {}: {}", peek().line, message);
}

std::string ExpressionParser::describe() const {
  switch (peek().kind) {
  case Token::Kind::End:
    return "the end of the template";
  case Token::Kind::BlockEnd:
    return "'%}'";
  case Token::Kind::OutputEnd:
    return "'}}'";
  default:
    return "'" + peek().text + "'";
  }
}

void ExpressionParser::failExpecting(std::string_view text) const {
  fail(fmt::format("expected '{}' but found {}", text, describe()));
}

std::string ExpressionParser::takeName(std::string_view what) {
  if (peek().kind != Token::Kind::Name)
    fail(fmt::format("expected {} but found {}", what, describe()));
  return take().text;
}

void ExpressionParser::expectBlockEnd() {
  if (peek().kind != Token::Kind::BlockEnd)
    failExpecting("%}");
  take();
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

/// An expression, or several with commas between.
ExpressionPtr ExpressionParser::parseTuple() {
  ExpressionPtr first = parseExpression();
  if (!isOperator(","))
    return first;
  ExpressionPtr tuple = make(Kind::Tuple);
  adopt(*tuple, std::move(first));
  while (acceptOperator(",")) {
    if (isOperator(")") || peek().kind == Token::Kind::BlockEnd ||
        peek().kind == Token::Kind::OutputEnd)
      break;
    adopt(*tuple, parseExpression());
  }
  return tuple;
}

ExpressionPtr ExpressionParser::parseConditional() {
  Level level(*this);
  ExpressionPtr value = parseOr();
  while (acceptName("if")) {
    ExpressionPtr result = make(Kind::Conditional);
    adopt(*result, parseOr());
    adopt(*result, std::move(value));
    adopt(*result, acceptName("else") ? parseConditional() : nullptr);
    value = std::move(result);
  }
  return value;
}

void ExpressionParser::adopt(Expression &node, ExpressionPtr child) {
  if (child)
    node.height = std::max(node.height, child->height + 1);
  if (node.height > highest)
    fail("an expression is too long");
  node.operands.push_back(std::move(child));
}

ExpressionPtr ExpressionParser::join(ExpressionPtr node, ExpressionPtr left,
                           ExpressionPtr right) {
  adopt(*node, std::move(left));
  adopt(*node, std::move(right));
  return node;
}

ExpressionPtr ExpressionParser::parseOr() {
  ExpressionPtr left = parseAnd();
  while (acceptName("or")) {
    ExpressionPtr node = make(Kind::Binary, "or");
    left = join(std::move(node), std::move(left), parseAnd());
  }
  return left;
}

ExpressionPtr ExpressionParser::parseAnd() {
  ExpressionPtr left = parseNot();
  while (acceptName("and")) {
    ExpressionPtr node = make(Kind::Binary, "and");
    left = join(std::move(node), std::move(left), parseNot());
  }
  return left;
}

ExpressionPtr ExpressionParser::parseNot() {
  if (!isName("not"))
    return parseCompare();
  Level level(*this);
  ExpressionPtr result = make(Kind::Unary, take().text);
  adopt(*result, parseNot());
  return result;
}

ExpressionPtr ExpressionParser::parseCompare() {
  ExpressionPtr first = parseBinary(0);
  ExpressionPtr result;
  for (;;) {
    std::string op;
    for (const char *known : {"==", "!=", "<", "<=", ">", ">="})
      if (isOperator(known))
        op = known;
    if (isName("in"))
      op = "in";
    else if (isName("not") && isName("in", 1))
      op = "not in";
    if (op.empty())
      return result ? std::move(result) : std::move(first);
    if (!result) {
      result = make(Kind::Compare);
      adopt(*result, std::move(first));
    }
    take();
    if (op == "not in")
      take();
    result->operators.push_back(op);
    adopt(*result, parseBinary(0));
  }
}

/// Left-associative operators, by falling looseness.
ExpressionPtr ExpressionParser::parseBinary(int level) {
  static const std::vector<std::string_view> levels[] = {
      {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
  if (level == std::size(levels))
    return parseUnary(true);
  ExpressionPtr left = parseBinary(level + 1);
  for (;;) {
    bool matches = false;
    for (std::string_view op : levels[level])
      matches |= isOperator(op);
    if (!matches)
      return left;
    ExpressionPtr node = make(Kind::Binary, take().text);
    left = join(std::move(node), std::move(left), parseBinary(level + 1));
  }
}

ExpressionPtr ExpressionParser::parseUnary(bool withFilters) {
  ExpressionPtr result;
  if (isOperator("-") || isOperator("+")) {
    Level level(*this);
    result = make(Kind::Unary, take().text);
    adopt(*result, parseUnary(false));
  } else {
    result = parsePrimary();
  }
  result = parsePostfix(std::move(result));
  return withFilters ? parseFilters(std::move(result)) : std::move(result);
}

ExpressionPtr ExpressionParser::parsePrimary() {
  const Token &token = peek();
  switch (token.kind) {
  case Token::Kind::Name: {
    std::string name = take().text;
    if (name == "true" || name == "True")
      return literal(true);
    if (name == "false" || name == "False")
      return literal(false);
    if (name == "none" || name == "None")
      return literal(Value());
    return make(Kind::Name, name);
  }
  case Token::Kind::String: {
    std::string text = take().text;
    while (peek().kind == Token::Kind::String)
      text += take().text;
    return literal(text);
  }
  case Token::Kind::Integer: {
    int64_t value = 0;
    std::string_view digits = token.text;
    int base = 10;
    for (auto [prefix, radix] : {std::pair("0x", 16), {"0o", 8}, {"0b", 2}})
      if (digits.starts_with(prefix))
        base = radix;
    digits.remove_prefix(base == 10 ? 0 : 2);
    if (std::from_chars(digits.data(), digits.data() + digits.size(), value, base).ec !=
        std::errc())
      fail(fmt::format("the integer {} is too large", token.text));
    take();
    return literal(value);
  }
  case Token::Kind::Float: {
    double value = 0;
    const char *end = token.text.data() + token.text.size();
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
      fail(fmt::format("the number {} is out of range", token.text));
    take();
    return literal(value);
  }
  default:
    break;
  }
  if (acceptOperator("(")) {
    ExpressionPtr inner = isOperator(")") ? make(Kind::Tuple) : parseTuple();
    expectOperator(")");
    return inner;
  }
  if (acceptOperator("[")) {
    ExpressionPtr list = make(Kind::List);
    while (!acceptOperator("]")) {
      if (!list->operands.empty()) {
        expectOperator(",");
        if (acceptOperator("]"))
          break;
      }
      adopt(*list, parseExpression());
    }
    return list;
  }
  if (isOperator("{"))
    return parseDict();
  fail(fmt::format("expected a value but found {}", describe()));
}

ExpressionPtr ExpressionParser::parseDict() {
  ExpressionPtr dict = make(Kind::Dict);
  take();
  while (!acceptOperator("}")) {
    if (!dict->operands.empty()) {
      expectOperator(",");
      if (acceptOperator("}"))
        break;
    }
    adopt(*dict, parseExpression());
    expectOperator(":");
    adopt(*dict, parseExpression());
  }
  return dict;
}

ExpressionPtr ExpressionParser::parsePostfix(ExpressionPtr object) {
  for (;;) {
    if (isOperator(".") || isOperator("[")) {
      object = parseSubscript(std::move(object));
    } else if (isOperator("(")) {
      ExpressionPtr call = make(Kind::Call);
      adopt(*call, std::move(object));
      parseArguments(*call);
      object = std::move(call);
    } else {
      return object;
    }
  }
}

ExpressionPtr ExpressionParser::parseSubscript(ExpressionPtr object) {
  if (acceptOperator(".")) {
    if (peek().kind == Token::Kind::Integer) {
      ExpressionPtr index = make(Kind::Index);
      ExpressionPtr number = parsePrimary();
      return join(std::move(index), std::move(object), std::move(number));
    }
    ExpressionPtr attribute = make(Kind::Attribute, takeName("an attribute"));
    adopt(*attribute, std::move(object));
    return attribute;
  }
  expectOperator("[");
  ExpressionPtr parts[3];
  int colons = 0;
  for (;;) {
    if (acceptOperator(":")) {
      if (++colons > 2)
        fail("a slice has too many colons");
    } else if (isOperator("]")) {
      break;
    } else if (parts[colons]) {
      fail(fmt::format("expected ']' but found {}", describe()));
    } else {
      parts[colons] = parseExpression();
    }
  }
  ExpressionPtr result = make(colons > 0 ? Kind::Slice : Kind::Index);
  take();
  if (colons == 0 && !parts[0])
    fail("an index is missing");
  adopt(*result, std::move(object));
  for (int i = 0; i < (colons > 0 ? 3 : 1); ++i)
    adopt(*result, std::move(parts[i]));
  return result;
}

/// A filter of `object`, from its name on.
ExpressionPtr ExpressionParser::parseFilter(ExpressionPtr object) {
  ExpressionPtr filter = make(Kind::Filter, takeName("a filter"));
  adopt(*filter, std::move(object));
  if (isOperator("("))
    parseArguments(*filter);
  return filter;
}

ExpressionPtr ExpressionParser::parseFilters(ExpressionPtr object) {
  for (;;) {
    if (acceptOperator("|")) {
      object = parseFilter(std::move(object));
    } else if (isName("is")) {
      object = parseTest(std::move(object));
    } else if (isOperator("(")) {
      object = parsePostfix(std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPtr ExpressionParser::parseTest(ExpressionPtr object) {
  take(); // is
  int line = peek().line;
  bool negated = acceptName("not");
  ExpressionPtr test = make(Kind::Test, takeName("a test"));
  test->line = line;
  adopt(*test, std::move(object));
  if (isOperator("(")) {
    parseArguments(*test);
  } else {
    bool takesOne = peek().kind == Token::Kind::String ||
                    peek().kind == Token::Kind::Integer ||
                    peek().kind == Token::Kind::Float || isOperator("[") ||
                    isOperator("{") ||
                    (peek().kind == Token::Kind::Name && !isName("else") &&
                     !isName("or") && !isName("and") && !isName("if") &&
                     !isName("is") && !isName("in") && !isName("not"));
    if (takesOne) {
      ExpressionPtr argument = parsePrimary();
      adopt(*test, parsePostfix(std::move(argument)));
    }
  }
  if (!negated)
    return test;
  ExpressionPtr inverse = make(Kind::Unary, "not");
  adopt(*inverse, std::move(test));
  return inverse;
}

void ExpressionParser::parseArguments(Expression &call) {
  expectOperator("(");
  bool first = true;
  while (!acceptOperator(")")) {
    if (!first) {
      expectOperator(",");
      if (acceptOperator(")"))
        return;
    }
    first = false;
    if (isOperator("*") || isOperator("**")) {
      ExpressionPtr spread = make(Kind::Spread, take().text);
      adopt(*spread, parseExpression());
      adopt(call, std::move(spread));
    } else if (peek().kind == Token::Kind::Name && isOperator("=", 1)) {
      std::string name = take().text;
      take();
      ExpressionPtr value = parseExpression();
      call.height = std::max(call.height, value->height + 1);
      if (call.height > highest)
        fail("an expression is too long");
      call.named.emplace_back(name, std::move(value));
    } else {
      bool afterSpread = !call.operands.empty() && call.operands.back() &&
                         call.operands.back()->kind == Kind::Spread;
      if (!call.named.empty() || afterSpread)
        fail("a plain argument follows a named one");
      adopt(call, parseExpression());
    }
  }
}
