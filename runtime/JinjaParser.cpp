//===- JinjaParser.cpp - Statements of chat templates -----------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaParser.h"

#include "runtime/Error.h"
#include "runtime/JinjaExpressions.h"

#include <initializer_list>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

namespace {

class Parser : ExpressionParser {
public:
  explicit Parser(std::string_view source) : ExpressionParser(tokenize(source)) {}

  Body parseTemplate() {
    Body body = parseBody({});
    if (peek().kind != Token::Kind::End)
      fail(fmt::format("'{}' closes nothing", tokens[position + 1].text));
    return body;
  }

private:
  using Names = std::initializer_list<std::string_view>;

  Body parseBody(Names ends);
  Body parseBlockBody(std::string_view end);
  Statement parseBlock();
  Statement parseIf();
  Statement parseFor();
  Statement parseSet();
  Statement parseMacro();
  Statement parseCall();
  Statement parseFilterBlock();
  Statement parseWith();
  Statement parseNamedBlock();
  Target parseTarget(bool isLoop);
  Target parseTargets(bool isLoop);
  void parseParameters(Callable &callable);
  void parseCallableBody(Callable &callable, std::string_view end);
  Statement make(Statement::Kind kind) const {
    return Statement{.kind = kind, .line = peek().line};
  }
  using ExpressionParser::make;
  void endBlock(std::string_view name) {
    take(); // {%
    expectName(name);
    expectBlockEnd();
  }
  bool atBlock(std::string_view name) const {
    return peek().kind == Token::Kind::BlockBegin && isName(name, 1);
  }
};

} // namespace

/// Parses up to a block that begins with one of `ends`, which is left there.
Body Parser::parseBody(Names ends) {
  Level level(*this);
  Body body;
  for (;;) {
    if (peek().kind == Token::Kind::Text) {
      body.push_back(make(Statement::Kind::Text));
      body.back().text = take().text;
    } else if (peek().kind == Token::Kind::OutputBegin) {
      Statement output = make(Statement::Kind::Output);
      take();
      output.expression = parseTuple();
      if (peek().kind != Token::Kind::OutputEnd)
        failExpecting("}}");
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

/// The rest of a block's tag, and what it holds up to the tag `end` and with it.
Body Parser::parseBlockBody(std::string_view end) {
  expectBlockEnd();
  Body body = parseBody({end});
  endBlock(end);
  return body;
}

Statement Parser::parseBlock() {
  take(); // {%
  std::string name = takeName("the name of a statement");
  auto simple = [&](Statement::Kind kind) {
    Statement result = make(kind);
    expectBlockEnd();
    return result;
  };
  if (name == "if")
    return parseIf();
  if (name == "for")
    return parseFor();
  if (name == "set")
    return parseSet();
  if (name == "macro")
    return parseMacro();
  if (name == "call")
    return parseCall();
  if (name == "filter")
    return parseFilterBlock();
  if (name == "with")
    return parseWith();
  if (name == "block")
    return parseNamedBlock();
  if (name == "break")
    return simple(Statement::Kind::Break);
  if (name == "continue")
    return simple(Statement::Kind::Continue);
  if (name == "print") {
    Statement output = make(Statement::Kind::Output);
    output.expression = parseExpression();
    while (acceptOperator(",")) {
      ExpressionPtr all = make(Kind::Binary, "~");
      adopt(*all, std::move(output.expression));
      adopt(*all, parseExpression());
      output.expression = std::move(all);
    }
    expectBlockEnd();
    return output;
  }
  if (name == "generation") {
    // Hugging Face's mark around what the assistant says.
    Statement group = make(Statement::Kind::Group);
    group.body = parseBlockBody("endgeneration");
    return group;
  }
  fail(fmt::format(
      "the statement '{}' is not supported; supported are if, for, set, "
      "macro, call, filter, with, block, print, break, continue, generation and raw",
      name));
}

Statement Parser::parseIf() {
  Statement result = make(Statement::Kind::If);
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

Target Parser::parseTarget(bool isLoop) {
  if (acceptOperator("(")) {
    Target inner = parseTargets(isLoop);
    expectOperator(")");
    return inner;
  }
  Target target;
  target.name = takeName("a name");
  if (!isLoop && acceptOperator("."))
    target.attribute = takeName("an attribute");
  return target;
}

/// One target, or several with commas between.
Target Parser::parseTargets(bool isLoop) {
  Level level(*this);
  Target first = parseTarget(isLoop);
  if (!isOperator(","))
    return first;
  Target all;
  all.parts.push_back(std::move(first));
  while (acceptOperator(",") && (isOperator("(") || (peek().kind == Token::Kind::Name &&
                                                     !(isLoop && isName("in")))))
    all.parts.push_back(parseTarget(isLoop));
  return all;
}

Statement Parser::parseFor() {
  Statement result = make(Statement::Kind::For);
  result.target = parseTargets(/*isLoop=*/true);
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
  result.isRecursive = acceptName("recursive");
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
  Statement result = make(Statement::Kind::Set);
  result.target = parseTargets(/*isLoop=*/false);
  if (acceptOperator("=")) {
    result.expression = parseTuple();
    expectBlockEnd();
    return result;
  }
  if (!result.target.parts.empty())
    fail("expected '='");
  if (isOperator("|"))
    result.expression = parseFilters(make(Kind::Captured));
  result.kind = Statement::Kind::SetBlock;
  result.body = parseBlockBody("endset");
  return result;
}

/// The parameters of a macro or a caller, from behind the bracket.
void Parser::parseParameters(Callable &callable) {
  while (!acceptOperator(")")) {
    if (!callable.parameters.empty()) {
      expectOperator(",");
      if (acceptOperator(")"))
        return;
    }
    callable.parameters.push_back(takeName("a parameter"));
    if (acceptOperator("="))
      callable.defaults.push_back(parseExpression());
    else if (!callable.defaults.empty() && callable.defaults.back())
      fail("a parameter without a default follows one with");
    else
      callable.defaults.push_back(nullptr);
  }
}

/// The body, and which of the special names it uses.
void Parser::parseCallableBody(Callable &callable, std::string_view end) {
  size_t begin = position;
  callable.body = parseBlockBody(end);
  for (size_t i = begin; i < position; ++i)
    if (tokens[i].kind == Token::Kind::Name) {
      callable.takesVarargs |= tokens[i].text == "varargs";
      callable.takesKwargs |= tokens[i].text == "kwargs";
      callable.takesCaller |= tokens[i].text == "caller";
    }
}

Statement Parser::parseMacro() {
  Statement result = make(Statement::Kind::Macro);
  result.callable = std::make_unique<Callable>();
  result.callable->name = takeName("the name of a macro");
  expectOperator("(");
  parseParameters(*result.callable);
  parseCallableBody(*result.callable, "endmacro");
  return result;
}

Statement Parser::parseCall() {
  Statement result = make(Statement::Kind::CallBlock);
  result.callable = std::make_unique<Callable>();
  result.callable->name = "caller";
  if (acceptOperator("("))
    parseParameters(*result.callable);
  result.expression = parseUnary(/*withFilters=*/false);
  if (result.expression->kind != Kind::Call)
    fail("a call block needs a call");
  parseCallableBody(*result.callable, "endcall");
  return result;
}

Statement Parser::parseFilterBlock() {
  Statement result = make(Statement::Kind::FilterBlock);
  result.expression = parseFilters(parseFilter(make(Kind::Captured)));
  result.body = parseBlockBody("endfilter");
  return result;
}

Statement Parser::parseWith() {
  Statement result = make(Statement::Kind::With);
  while (peek().kind != Token::Kind::BlockEnd) {
    if (!result.names.empty())
      expectOperator(",");
    result.names.push_back(takeName("a name"));
    expectOperator("=");
    result.values.push_back(parseExpression());
  }
  result.body = parseBlockBody("endwith");
  return result;
}

/// A block that another template could replace; here it only has a scope of its own.
Statement Parser::parseNamedBlock() {
  Statement result = make(Statement::Kind::Group);
  std::string name = takeName("the name of a block");
  while (acceptName("scoped") || acceptName("required"))
    ;
  expectBlockEnd();
  result.body = parseBody({"endblock"});
  take(); // {%
  take(); // endblock
  acceptName(name);
  expectBlockEnd();
  return result;
}

Body jinja::parse(std::string_view source) {
  return Parser(source).parseTemplate();
}
