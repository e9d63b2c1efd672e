//===- JinjaInterpreter.cpp - Running chat templates ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaInterpreter.h"

#include "runtime/Error.h"
#include "runtime/JinjaBuiltins.h"
#include "runtime/JinjaGlobals.h"
#include "runtime/JinjaScope.h"

#include <algorithm>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Bytes that a template may write.
static constexpr size_t longestOutput = size_t(64) << 20;

/// Statements, expressions and macros within each other, which bounds the
/// stack.
static constexpr int deepest = 800;

namespace {

/// Counts one level of recursion for as long as it lives.
struct Level {
  explicit Level(int &depth) : depth(depth) {
    if (++depth > deepest) {
      --depth;
      throw Error("the template nests too deep");
    }
  }
  ~Level() { --depth; }
  int &depth;
};

/// How a body ended.
enum class Flow { Done, Break, Continue };

/// An error that already names its line.
class LocatedError : public Error {
public:
  using Error::Error;
};

/// Sets a variable for as long as it lives.
template <typename T> struct Replace {
  Replace(T &variable, T value)
      : variable(variable), old(std::exchange(variable, std::move(value))) {}
  ~Replace() { variable = std::move(old); }
  T &variable;
  T old;
};

class Interpreter {
public:
  explicit Interpreter(const DictObject &globals);
  ~Interpreter();
  std::string run(const Body &body);

private:
  // Statements.
  Flow execute(const Body &body);
  Flow execute(const Statement &statement);
  Flow executeFor(const Statement &loop, std::vector<Value> items, int loopDepth);
  void executeSet(const Statement &set);
  Flow executeWith(const Statement &with);
  void executeCall(const Statement &block);
  std::string capture(const Body &body);
  void assign(const Target &target, const Value &value);
  void write(std::string_view text);

  // Macros and loops that are called.
  Value makeCallable(const Callable &callable);
  Value callCallable(const Callable &callable, const ScopePtr &definedIn,
                     const Arguments &arguments);
  void bindArguments(const Callable &callable, const Arguments &arguments);
  Value callLoop(const Statement &loop, const ScopePtr &outer, int loopDepth,
                 const Arguments &arguments);

  // Expressions.
  Value evaluate(const Expression &expression);
  Value compute(const Expression &expression);
  Value lookUp(const std::string &name);
  Value unary(const Expression &expression);
  Value binary(const Expression &expression);
  Value comparison(const Expression &expression);
  Value call(const Expression &expression, const Value *caller = nullptr);
  Arguments argumentsOf(const Expression &expression);
  void spread(const Expression &argument, Arguments &arguments);
  Value text(std::string value);

  ScopePtr root = std::make_shared<Scope>();
  ScopePtr scope = root;
  std::string *out = nullptr;
  Budget budget;
  int depth = 0;
  int loops = 0;
  /// What the body of a filter or set block wrote.
  Value captured;
  /// Objects that may hold themselves and so have to be let go in the end.
  std::vector<Value> namespaces;
  std::vector<ScopePtr> held;
};

} // namespace

Interpreter::Interpreter(const DictObject &globals) {
  root->variables = makeGlobals(budget, namespaces);
  for (const auto &[name, value] : globals.entries)
    root->variables[name.string()] = value;
}

Interpreter::~Interpreter() {
  for (const Value &value : namespaces)
    value.dict().entries.clear();
  for (const ScopePtr &each : held)
    each->variables.clear();
}

std::string Interpreter::run(const Body &body) {
  std::string text;
  out = &text;
  execute(body);
  return text;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

void Interpreter::write(std::string_view text) {
  budget.spend(text.size());
  if (out->size() + text.size() > longestOutput)
    throw Error("the output is longer than {} bytes", longestOutput);
  out->append(text);
}

Flow Interpreter::execute(const Body &body) {
  for (const Statement &statement : body)
    if (Flow flow = execute(statement); flow != Flow::Done)
      return flow;
  return Flow::Done;
}

Flow Interpreter::execute(const Statement &statement) {
  try {
    Level level(depth);
    budget.spend();
    switch (statement.kind) {
    case Statement::Kind::Text:
      write(statement.text);
      break;
    case Statement::Kind::Output:
      write(evaluate(*statement.expression).text());
      break;
    case Statement::Kind::If:
      return execute(evaluate(*statement.expression).truth()
                         ? statement.body
                         : statement.orElse);
    case Statement::Kind::For:
      return executeFor(statement, itemsOf(evaluate(*statement.expression), budget), 1);
    case Statement::Kind::Set:
      assign(statement.target, evaluate(*statement.expression));
      break;
    case Statement::Kind::SetBlock:
    case Statement::Kind::FilterBlock:
      executeSet(statement);
      break;
    case Statement::Kind::With:
      return executeWith(statement);
    case Statement::Kind::Macro:
      scope->variables[statement.callable->name] = makeCallable(*statement.callable);
      break;
    case Statement::Kind::CallBlock:
      executeCall(statement);
      break;
    case Statement::Kind::Group:
      write(capture(statement.body));
      break;
    case Statement::Kind::Break:
    case Statement::Kind::Continue:
      if (loops == 0)
        throw Error("break and continue stand in loops only");
      return statement.kind == Statement::Kind::Break ? Flow::Break
                                                      : Flow::Continue;
    }
  } catch (const LocatedError &) {
    throw;
  } catch (const Error &error) {
    throw LocatedError("chat template, line {}: {}", statement.line,
                       error.what());
  }
  return Flow::Done;
}

void Interpreter::assign(const Target &target, const Value &value) {
  if (!target.parts.empty()) {
    std::vector<Value> items = itemsOf(defined(value), budget);
    if (items.size() != target.parts.size())
      throw Error("{} names cannot take {} values", target.parts.size(), items.size());
    for (size_t i = 0; i < items.size(); ++i)
      assign(target.parts[i], items[i]);
    return;
  }
  if (target.attribute.empty()) {
    scope->variables[target.name] = value;
    return;
  }
  Value object = lookUp(target.name);
  if (!object.isDict() || object.dict().role != DictObject::Role::Namespace)
    throw Error("'{}' is not a namespace, so '{}.{}' cannot be set", target.name,
                target.name, target.attribute);
  object.dict().set(Value(target.attribute), value);
}

/// What the body writes, in a scope of its own.
std::string Interpreter::capture(const Body &body) {
  std::string text;
  Replace<std::string *> output(out, &text);
  Replace<ScopePtr> inner(scope, makeScope(scope));
  // A break in it would leave more than the body.
  Replace<int> noLoop(loops, 0);
  execute(body);
  return text;
}

/// A set block or a filter block: what the body writes, through filters.
void Interpreter::executeSet(const Statement &block) {
  captured = text(capture(block.body));
  Value result = block.expression ? evaluate(*block.expression) : captured;
  if (block.kind == Statement::Kind::FilterBlock)
    write(result.text());
  else
    assign(block.target, result);
}

Flow Interpreter::executeWith(const Statement &with) {
  ScopePtr inner = makeScope(scope);
  for (size_t i = 0; i < with.names.size(); ++i)
    inner->variables[with.names[i]] = evaluate(*with.values[i]);
  Replace<ScopePtr> replaced(scope, inner);
  return execute(with.body);
}

void Interpreter::executeCall(const Statement &block) {
  Value caller = makeCallable(*block.callable);
  write(call(*block.expression, &caller).text());
}

Flow Interpreter::executeFor(const Statement &loop, std::vector<Value> items, int loopDepth) {
  ScopePtr outer = scope;
  Replace<ScopePtr> restore(scope, scope);
  Replace<int> inLoop(loops, loops + 1);
  if (loop.condition) {
    std::vector<Value> kept;
    for (const Value &item : items) {
      budget.spend(256);
      scope = makeScope(outer);
      assign(loop.target, item);
      if (evaluate(*loop.condition).truth())
        kept.push_back(item);
    }
    items = std::move(kept);
  }
  auto state = std::make_shared<LoopState>(LoopState{std::move(items), 0, loopDepth, {}, {}});
  if (loop.isRecursive) {
    held.push_back(outer);
    state->call = Value::function("loop", [this, &loop, outer, loopDepth](const Arguments &a) {
                    return callLoop(loop, outer, loopDepth + 1, a);
                  });
  }
  for (; state->turn < state->items.size(); ++state->turn) {
    budget.spend(256);
    scope = makeScope(outer);
    scope->loop = state;
    assign(loop.target, state->items[state->turn]);
    if (execute(loop.body) == Flow::Break)
      break;
  }
  if (!state->items.empty())
    return Flow::Done;
  scope = makeScope(outer);
  --loops;
  Flow flow = execute(loop.orElse);
  ++loops;
  return flow;
}

/// loop(items) in a recursive loop.
Value Interpreter::callLoop(const Statement &loop, const ScopePtr &outer, int loopDepth,
                            const Arguments &arguments) {
  Level level(depth);
  std::string text;
  Replace<std::string *> output(out, &text);
  Replace<ScopePtr> inner(scope, outer);
  Replace<int> noLoop(loops, 0);
  executeFor(loop, itemsOf(arguments.get(0, "items", "loop"), budget), loopDepth);
  return this->text(std::move(text));
}

//===----------------------------------------------------------------------===//
// Macros
//===----------------------------------------------------------------------===//

Value Interpreter::makeCallable(const Callable &callable) {
  held.push_back(scope);
  budget.spend(sizeof(ScopePtr));
  return Value::function(callable.name,
                         [this, &callable, definedIn = scope](const Arguments &arguments) {
                           return callCallable(callable, definedIn, arguments);
                         });
}

/// Makes the parameters variables of the scope.
void Interpreter::bindArguments(const Callable &callable, const Arguments &arguments) {
  const auto &names = callable.parameters;
  if (arguments.positional.size() > names.size() && !callable.takesVarargs)
    throw Error("the macro '{}' takes {} arguments", callable.name, names.size());
  auto rest = makeObject<DictObject>();
  for (const auto &[name, value] : arguments.named) {
    auto at = std::find(names.begin(), names.end(), name);
    if (at != names.end() && size_t(at - names.begin()) < arguments.positional.size())
      throw Error("the macro '{}' is given '{}' twice", callable.name, name);
    if (at != names.end())
      continue;
    if (name == "caller" && callable.takesCaller)
      scope->variables["caller"] = value;
    else if (callable.takesKwargs)
      rest->set(Value(name), value);
    else
      throw Error("the macro '{}' has no parameter '{}'", callable.name, name);
  }
  if (callable.takesVarargs) {
    size_t first = std::min(names.size(), arguments.positional.size());
    scope->variables["varargs"] = Value::tuple(
        {arguments.positional.begin() + long(first), arguments.positional.end()});
  }
  if (callable.takesKwargs)
    scope->variables["kwargs"] = rest;
  for (size_t i = 0; i < names.size(); ++i) {
    const Value *given = arguments.find(i, names[i]);
    scope->variables[names[i]] =
        given ? *given
        : callable.defaults[i]
            ? evaluate(*callable.defaults[i])
            : Value::undefined(fmt::format("parameter '{}' was not provided", names[i]));
  }
}

Value Interpreter::callCallable(const Callable &callable, const ScopePtr &definedIn,
                                const Arguments &arguments) {
  Level level(depth);
  Replace<ScopePtr> inner(scope, makeScope(definedIn));
  Replace<int> noLoop(loops, 0);
  bindArguments(callable, arguments);
  return text(capture(callable.body));
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Value Interpreter::text(std::string value) {
  budget.spend(value.size());
  return value;
}

Value Interpreter::lookUp(const std::string &name) {
  for (Scope *at = scope.get(); at; at = at->parent.get()) {
    if (auto it = at->variables.find(name); it != at->variables.end())
      return it->second;
    if (at->loop && name == "loop") {
      budget.spend(sizeof(Value) * 32);
      return makeLoop(at->loop);
    }
  }
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

Value Interpreter::evaluate(const Expression &expression) {
  budget.spend();
  try {
    Level level(depth);
    return compute(expression);
  } catch (const LocatedError &) {
    throw;
  } catch (const Error &error) {
    throw LocatedError("chat template, line {}: {}", expression.line,
                       error.what());
  }
}

Value Interpreter::compute(const Expression &expression) {
  const auto &operands = expression.operands;
  auto operand = [&](size_t i) { return evaluate(*operands[i]); };
  switch (expression.kind) {
  case Expression::Kind::Literal:
    return expression.value;
  case Expression::Kind::Name:
    return lookUp(expression.text);
  case Expression::Kind::List:
  case Expression::Kind::Tuple: {
    std::vector<Value> items;
    for (const ExpressionPtr &item : operands)
      items.push_back(evaluate(*item));
    bool isList = expression.kind == Expression::Kind::List;
    return isList ? Value::list(std::move(items))
                  : Value::tuple(std::move(items));
  }
  case Expression::Kind::Dict: {
    auto dict = makeObject<DictObject>();
    for (size_t i = 0; i < operands.size(); i += 2) {
      Value key = operand(i);
      if (!key.isString() && !key.isNumber() && !key.isNone())
        throw Error("a key must be a str or a number, not {}", key.typeName());
      budget.spend(dict->entries.size());
      dict->set(std::move(key), operand(i + 1));
    }
    return dict;
  }
  case Expression::Kind::Unary:
    return unary(expression);
  case Expression::Kind::Binary:
    return binary(expression);
  case Expression::Kind::Compare:
    return comparison(expression);
  case Expression::Kind::Conditional:
    if (operand(0).truth())
      return operand(1);
    return operands[2]
               ? operand(2)
               : Value::undefined("the if expression has no else, and its "
                                  "condition is false");
  case Expression::Kind::Attribute:
    return attribute(operand(0), expression.text, budget);
  case Expression::Kind::Index: {
    Value object = operand(0);
    return subscript(object, operand(1), budget);
  }
  case Expression::Kind::Slice: {
    Value object = operand(0), bounds[3];
    for (size_t i = 0; i < 3; ++i)
      if (operands[i + 1])
        bounds[i] = operand(i + 1);
    return slice(object, bounds[0], bounds[1], bounds[2], budget);
  }
  case Expression::Kind::Call:
    return call(expression);
  case Expression::Kind::Filter: {
    Value object = operand(0);
    return applyFilter(expression.text, object, argumentsOf(expression),
                       budget);
  }
  case Expression::Kind::Test: {
    Value object = operand(0);
    return applyTest(expression.text, object, argumentsOf(expression), budget);
  }
  case Expression::Kind::Captured:
    return captured;
  case Expression::Kind::Spread:
    // Stands among arguments only, where argumentsOf sees it.
    break;
  }
  return Value();
}

/// *items or **dict among the arguments.
void Interpreter::spread(const Expression &argument, Arguments &arguments) {
  Value value = evaluate(*argument.operands[0]);
  if (argument.text == "*") {
    for (Value &item : itemsOf(defined(value), budget))
      arguments.positional.push_back(std::move(item));
    return;
  }
  if (!value.isMapping())
    throw Error("** needs a dict, not {}", value.typeName());
  for (const auto &[key, item] : value.dict().entries) {
    if (!key.isString())
      throw Error("** needs keys that are str, not {}", key.typeName());
    budget.spend(key.string().size() + sizeof(Value));
    arguments.named.emplace_back(key.string(), item);
  }
}

/// The arguments of a call, filter or test, whose first operand is something
/// else.
Arguments Interpreter::argumentsOf(const Expression &expression) {
  Arguments arguments;
  for (size_t i = 1; i < expression.operands.size(); ++i) {
    if (expression.operands[i]->kind == Expression::Kind::Spread)
      spread(*expression.operands[i], arguments);
    else
      arguments.positional.push_back(evaluate(*expression.operands[i]));
  }
  for (const auto &[name, value] : expression.named)
    arguments.named.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Interpreter::call(const Expression &expression, const Value *caller) {
  Value callee = evaluate(*expression.operands[0]);
  defined(callee);
  if (!callee.isCallable())
    throw Error("{} cannot be called", callee.typeName());
  Arguments arguments = argumentsOf(expression);
  if (caller)
    arguments.named.emplace_back("caller", *caller);
  return callee.function().call(arguments);
}

Value Interpreter::unary(const Expression &expression) {
  Value value = evaluate(*expression.operands[0]);
  if (expression.text == "not")
    return !value.truth();
  return signedValue(expression.text, value);
}

Value Interpreter::binary(const Expression &expression) {
  const std::string &op = expression.text;
  Value left = evaluate(*expression.operands[0]);
  if (op == "and" || op == "or")
    return left.truth() == (op == "or") ? left
                                        : evaluate(*expression.operands[1]);
  Value right = evaluate(*expression.operands[1]);
  return arithmetic(op, std::move(left), std::move(right), budget);
}

Value Interpreter::comparison(const Expression &expression) {
  Value left = evaluate(*expression.operands[0]);
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    const std::string &op = expression.operators[i];
    Value right = evaluate(*expression.operands[i + 1]);
    bool holds;
    if (op == "in" || op == "not in")
      holds = contains(right, left, budget) == (op == "in");
    else if (op == "==" || op == "!=")
      holds = (left == right) == (op == "==");
    else {
      int order = compare(defined(left), defined(right));
      holds = op == "<"    ? order < 0
              : op == "<=" ? order <= 0
              : op == ">"  ? order > 0
                           : order >= 0;
    }
    if (!holds)
      return false;
    left = right;
  }
  return true;
}

std::string jinja::render(const Body &body, const DictObject &globals) {
  return Interpreter(globals).run(body);
}
