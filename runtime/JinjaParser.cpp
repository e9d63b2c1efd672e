//===- JinjaParser.cpp - Syntax of chat templates -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
// A recursive-descent parser with the precedences of Jinja: if-else, or, and,
// not, comparisons, + and -, ~, * / // %, **, unary signs, then what follows a
// primary.
#include "runtime/JinjaParser.h"

#include "runtime/Error.h"
#include "runtime/JinjaLexer.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Nesting of statements and expressions, which bounds the stack.
static constexpr int deepest = 100;

/// Height of an expression's tree, which bounds the stack of those who walk it.
static constexpr int highest = 300;

namespace {

class Parser {
public:
  explicit Parser(std::string_view source) : tokens(tokenize(source)) {}

  Body parseTemplate() {
    Body body = parseBody({});
    if (peek().kind != Token::Kind::End)
      fail(fmt::format("'{}' closes nothing", tokens[position + 1].text));
    return body;
  }

private:
  using Kind = Expression::Kind;
  using Names = std::initializer_list<std::string_view>;

  /// Counts one level of recursion for as long as it lives.
  struct Level {
    explicit Level(Parser &parser) : parser(parser) {
      if (++parser.depth > deepest)
        parser.fail("the template nests too deep");
    }
    ~Level() { --parser.depth; }
    Parser &parser;
  };

  // Tokens.
  const Token &peek(size_t ahead = 0) const {
    return tokens[std::min(position + ahead, tokens.size() - 1)];
  }
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
      fail(fmt::format("expected '{}' but found {}", text, describe()));
  }
  void expectName(std::string_view text) {
    if (!acceptName(text))
      fail(fmt::format("expected '{}' but found {}", text, describe()));
  }
  std::string takeName(std::string_view what) {
    if (peek().kind != Token::Kind::Name)
      fail(fmt::format("expected {} but found {}", what, describe()));
    return take().text;
  }
  void expectBlockEnd() {
    if (peek().kind != Token::Kind::BlockEnd)
      fail(fmt::format("expected '%}}' but found {}", describe()));
    take();
  }
  std::string describe() const;
  [[noreturn]] void fail(std::string_view message) const {
    throw Error("chat template, line {}: {}", peek().line, message);
  }

  // Statements.
  Body parseBody(Names ends);
  Statement parseBlock();
  Statement parseIf();
  Statement parseFor();
  Statement parseSet();
  Statement parseMacro();
  std::vector<std::string> parseTargets();
  void endBlock(std::string_view name) {
    take(); // {%
    expectName(name);
    expectBlockEnd();
  }
  bool atBlock(std::string_view name) const {
    return peek().kind == Token::Kind::BlockBegin && isName(name, 1);
  }

  // Expressions.
  ExpressionPtr make(Kind kind, std::string text = "") const {
    return ExpressionPtr(
        new Expression{kind, peek().line, std::move(text), {}, {}, {}, {}, 1});
  }
  ExpressionPtr literal(Value value) const {
    ExpressionPtr result = make(Kind::Literal);
    result->value = std::move(value);
    return result;
  }
  void adopt(Expression &node, ExpressionPtr child);
  ExpressionPtr join(ExpressionPtr node, ExpressionPtr left,
                     ExpressionPtr right);
  ExpressionPtr parseExpression() { return parseConditional(); }
  ExpressionPtr parseTuple();
  ExpressionPtr parseConditional();
  ExpressionPtr parseOr();
  ExpressionPtr parseAnd();
  ExpressionPtr parseNot();
  ExpressionPtr parseCompare();
  ExpressionPtr parseBinary(int level);
  ExpressionPtr parseUnary(bool withFilters);
  ExpressionPtr parsePrimary();
  ExpressionPtr parseDict();
  ExpressionPtr parsePostfix(ExpressionPtr object);
  ExpressionPtr parseFilters(ExpressionPtr object);
  ExpressionPtr parseSubscript(ExpressionPtr object);
  ExpressionPtr parseTest(ExpressionPtr object);
  void parseArguments(Expression &call);

  std::vector<Token> tokens;
  size_t position = 0;
  int depth = 0;
};

} // namespace

std::string Parser::describe() const {
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

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

/// Parses up to a block that begins with one of `ends`, which is left there.
Body Parser::parseBody(Names ends) {
  Level level(*this);
  Body body;
  for (;;) {
    int line = peek().line;
    if (peek().kind == Token::Kind::Text) {
      body.push_back({Statement::Kind::Text,
                      line,
                      take().text,
                      {},
                      {},
                      {},
                      {},
                      {},
                      {},
                      {}});
    } else if (peek().kind == Token::Kind::OutputBegin) {
      take();
      Statement output{
          Statement::Kind::Output, line, {}, {}, {}, {}, {}, {}, {}, {}};
      output.expression = parseTuple();
      if (peek().kind != Token::Kind::OutputEnd)
        fail(fmt::format("expected '}}}}' but found {}", describe()));
      take();
      body.push_back(std::move(output));
    } else if (peek().kind == Token::Kind::BlockBegin) {
      const Token &name = peek(1);
      if (name.kind == Token::Kind::Name &&
          std::find(ends.begin(), ends.end(), name.text) != ends.end())
        return body;
      if (name.kind == Token::Kind::Name && name.text.starts_with("end") &&
          ends.size() == 0)
        return body;
      body.push_back(parseBlock());
    } else {
      if (ends.size() != 0)
        fail(fmt::format("'{}' is missing", *(ends.end() - 1)));
      return body;
    }
  }
}

Statement Parser::parseBlock() {
  int line = peek().line;
  take(); // {%
  std::string name = takeName("the name of a statement");
  auto simple = [&](Statement::Kind kind) {
    expectBlockEnd();
    return Statement{kind, line, {}, {}, {}, {}, {}, {}, {}, {}};
  };
  if (name == "if")
    return parseIf();
  if (name == "for")
    return parseFor();
  if (name == "set")
    return parseSet();
  if (name == "macro")
    return parseMacro();
  if (name == "break")
    return simple(Statement::Kind::Break);
  if (name == "continue")
    return simple(Statement::Kind::Continue);
  if (name == "generation") {
    // Hugging Face's mark around what the assistant says.
    Statement group = simple(Statement::Kind::Group);
    group.body = parseBody({"endgeneration"});
    endBlock("endgeneration");
    return group;
  }
  fail(fmt::format(
      "the statement '{}' is not supported; supported are if, for, set, "
      "macro, break, continue, generation and raw",
      name));
}

Statement Parser::parseIf() {
  Statement result{
      Statement::Kind::If, peek().line, {}, {}, {}, {}, {}, {}, {}, {}};
  Level level(*this);
  result.expression = parseTuple();
  expectBlockEnd();
  result.body = parseBody({"elif", "else", "endif"});
  if (atBlock("elif")) {
    take();
    take();
    result.orElse.push_back(parseIf());
    return result;
  }
  if (atBlock("else")) {
    take();
    take();
    expectBlockEnd();
    result.orElse = parseBody({"endif"});
  }
  endBlock("endif");
  return result;
}

std::vector<std::string> Parser::parseTargets() {
  std::vector<std::string> names;
  bool parenthesized = acceptOperator("(");
  do
    names.push_back(takeName("a name"));
  while (acceptOperator(",") && peek().kind == Token::Kind::Name &&
         !isName("in"));
  if (parenthesized)
    expectOperator(")");
  return names;
}

Statement Parser::parseFor() {
  Statement result{
      Statement::Kind::For, peek().line, {}, {}, {}, {}, {}, {}, {}, {}};
  result.names = parseTargets();
  expectName("in");
  // An if here filters the items; it is no conditional expression.
  result.expression = parseOr();
  if (isOperator(",")) {
    ExpressionPtr tuple = make(Kind::Tuple);
    adopt(*tuple, std::move(result.expression));
    while (acceptOperator(","))
      adopt(*tuple, parseOr());
    result.expression = std::move(tuple);
  }
  if (acceptName("if"))
    result.condition = parseExpression();
  if (isName("recursive"))
    fail("recursive loops are not supported");
  expectBlockEnd();
  result.body = parseBody({"else", "endfor"});
  if (atBlock("else")) {
    take();
    take();
    expectBlockEnd();
    result.orElse = parseBody({"endfor"});
  }
  endBlock("endfor");
  return result;
}

Statement Parser::parseSet() {
  Statement result{
      Statement::Kind::Set, peek().line, {}, {}, {}, {}, {}, {}, {}, {}};
  if (isOperator(".", 1)) {
    result.text = takeName("a name");
    take();
    result.attribute = takeName("an attribute");
  } else {
    result.names = parseTargets();
  }
  if (acceptOperator("=")) {
    result.expression = parseTuple();
    expectBlockEnd();
    return result;
  }
  if (isOperator("|"))
    fail("filters on a set block are not supported");
  if (result.names.size() != 1)
    fail("expected '='");
  expectBlockEnd();
  result.kind = Statement::Kind::SetBlock;
  result.body = parseBody({"endset"});
  endBlock("endset");
  return result;
}

Statement Parser::parseMacro() {
  Statement result{
      Statement::Kind::Macro, peek().line, {}, {}, {}, {}, {}, {}, {}, {}};
  result.text = takeName("the name of a macro");
  expectOperator("(");
  while (!acceptOperator(")")) {
    if (!result.names.empty())
      expectOperator(",");
    result.names.push_back(takeName("a parameter"));
    result.defaults.push_back(acceptOperator("=") ? parseExpression()
                                                  : nullptr);
  }
  expectBlockEnd();
  result.body = parseBody({"endmacro"});
  endBlock("endmacro");
  return result;
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

/// An expression, or several with commas between.
ExpressionPtr Parser::parseTuple() {
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

ExpressionPtr Parser::parseConditional() {
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

void Parser::adopt(Expression &node, ExpressionPtr child) {
  if (child)
    node.height = std::max(node.height, child->height + 1);
  if (node.height > highest)
    fail("an expression is too long");
  node.operands.push_back(std::move(child));
}

ExpressionPtr Parser::join(ExpressionPtr node, ExpressionPtr left,
                           ExpressionPtr right) {
  adopt(*node, std::move(left));
  adopt(*node, std::move(right));
  return node;
}

ExpressionPtr Parser::parseOr() {
  ExpressionPtr left = parseAnd();
  while (acceptName("or")) {
    ExpressionPtr node = make(Kind::Binary, "or");
    left = join(std::move(node), std::move(left), parseAnd());
  }
  return left;
}

ExpressionPtr Parser::parseAnd() {
  ExpressionPtr left = parseNot();
  while (acceptName("and")) {
    ExpressionPtr node = make(Kind::Binary, "and");
    left = join(std::move(node), std::move(left), parseNot());
  }
  return left;
}

ExpressionPtr Parser::parseNot() {
  if (!isName("not"))
    return parseCompare();
  Level level(*this);
  ExpressionPtr result = make(Kind::Unary, take().text);
  adopt(*result, parseNot());
  return result;
}

ExpressionPtr Parser::parseCompare() {
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
ExpressionPtr Parser::parseBinary(int level) {
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

ExpressionPtr Parser::parseUnary(bool withFilters) {
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

ExpressionPtr Parser::parsePrimary() {
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
    const char *end = token.text.data() + token.text.size();
    if (std::from_chars(token.text.data(), end, value).ec != std::errc())
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

ExpressionPtr Parser::parseDict() {
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

ExpressionPtr Parser::parsePostfix(ExpressionPtr object) {
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

ExpressionPtr Parser::parseSubscript(ExpressionPtr object) {
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

ExpressionPtr Parser::parseFilters(ExpressionPtr object) {
  for (;;) {
    if (acceptOperator("|")) {
      ExpressionPtr filter = make(Kind::Filter, takeName("a filter"));
      adopt(*filter, std::move(object));
      if (isOperator("("))
        parseArguments(*filter);
      object = std::move(filter);
    } else if (isName("is")) {
      object = parseTest(std::move(object));
    } else if (isOperator("(")) {
      object = parsePostfix(std::move(object));
    } else {
      return object;
    }
  }
}

ExpressionPtr Parser::parseTest(ExpressionPtr object) {
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

void Parser::parseArguments(Expression &call) {
  expectOperator("(");
  bool first = true;
  while (!acceptOperator(")")) {
    if (!first) {
      expectOperator(",");
      if (acceptOperator(")"))
        return;
    }
    first = false;
    if (isOperator("*") || isOperator("**"))
      fail("* and ** arguments are not supported");
    if (peek().kind == Token::Kind::Name && isOperator("=", 1)) {
      std::string name = take().text;
      take();
      ExpressionPtr value = parseExpression();
      call.height = std::max(call.height, value->height + 1);
      if (call.height > highest)
        fail("an expression is too long");
      call.named.emplace_back(name, std::move(value));
    } else {
      if (!call.named.empty())
        fail("a plain argument follows a named one");
      adopt(call, parseExpression());
    }
  }
}

Body jinja::parse(std::string_view source) {
  return Parser(source).parseTemplate();
}
