//===- JinjaInterpreter.cpp - Running chat templates ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaInterpreter.h"

#include "runtime/Error.h"
#include "runtime/JinjaBuiltins.h"

#include <algorithm>
#include <cmath>
#include <map>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

/// Bytes that a template may write.
static constexpr size_t longestOutput = size_t(64) << 20;

/// Statements, expressions and macros within each other, which bounds the
/// stack.
static constexpr int deepest = 800;

/// Items of range(), as in Jinja's sandbox.
static constexpr int64_t longestRange = 100'000;

namespace {

/// The variables of a template, a loop's turn or a macro.
struct Scope {
  Scope *parent;
  std::map<std::string, Value> variables;
  const std::vector<Value> *items = nullptr; ///< What the loop goes through.
  size_t turn = 0;                           ///< The loop's current item.
};

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

class Interpreter {
public:
  explicit Interpreter(const DictObject &globals);
  ~Interpreter();
  std::string run(const Body &body);

private:
  Flow execute(const Body &body);
  Flow execute(const Statement &statement);
  Flow executeFor(const Statement &loop);
  void executeSet(const Statement &set);
  std::string capture(const Body &body);
  void assign(const std::vector<std::string> &names, const Value &value);
  void defineMacro(const Statement &macro);
  Value callMacro(const Statement &macro, const Arguments &arguments);
  void write(std::string_view text);

  Value evaluate(const Expression &expression);
  Value compute(const Expression &expression);
  Value lookUp(const std::string &name) const;
  Value unary(const Expression &expression);
  Value binary(const Expression &expression);
  Value comparison(const Expression &expression);
  Value call(const Expression &expression);
  Arguments argumentsOf(const Expression &expression);
  Value text(std::string value);

  Value makeRange(const Arguments &arguments);
  Value makeDict(const Arguments &arguments, DictObject::Role role);

  Scope root{nullptr, {}, nullptr, 0};
  Scope *scope = &root;
  std::string *out = nullptr;
  Budget budget;
  int depth = 0;
  int loops = 0;
  std::vector<Value> namespaces;
};

} // namespace

Interpreter::Interpreter(const DictObject &globals) {
  root.variables["range"] = Value::function(
      "range", [this](const Arguments &a) { return makeRange(a); });
  root.variables["dict"] = Value::function("dict", [this](const Arguments &a) {
    return makeDict(a, DictObject::Role::Plain);
  });
  root.variables["namespace"] =
      Value::function("namespace", [this](const Arguments &a) {
        return makeDict(a, DictObject::Role::Namespace);
      });
  for (const auto &[name, value] : globals.entries)
    root.variables[name.string()] = value;
}

Interpreter::~Interpreter() {
  // A namespace may hold itself; this lets it go.
  for (const Value &value : namespaces)
    value.dict().entries.clear();
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
      return executeFor(statement);
    case Statement::Kind::Set:
      executeSet(statement);
      break;
    case Statement::Kind::SetBlock:
      assign(statement.names, text(capture(statement.body)));
      break;
    case Statement::Kind::Macro:
      defineMacro(statement);
      break;
    case Statement::Kind::Group:
      return execute(statement.body);
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

void Interpreter::assign(const std::vector<std::string> &names,
                         const Value &value) {
  if (names.size() == 1) {
    scope->variables[names[0]] = value;
    return;
  }
  std::vector<Value> items = itemsOf(defined(value), budget);
  if (items.size() != names.size())
    throw Error("{} names cannot take {} values", names.size(), items.size());
  for (size_t i = 0; i < names.size(); ++i)
    scope->variables[names[i]] = items[i];
}

void Interpreter::executeSet(const Statement &set) {
  Value value = evaluate(*set.expression);
  if (set.attribute.empty())
    return assign(set.names, value);
  Value object = lookUp(set.text);
  if (!object.isDict() || object.dict().role != DictObject::Role::Namespace)
    throw Error("'{}' is not a namespace, so '{}.{}' cannot be set", set.text,
                set.text, set.attribute);
  object.dict().set(Value(set.attribute), value);
}

std::string Interpreter::capture(const Body &body) {
  std::string text;
  std::string *outer = std::exchange(out, &text);
  Scope inner{scope, {}, nullptr, 0};
  struct Restore {
    Interpreter &self;
    std::string *out;
    Scope *scope;
    ~Restore() {
      self.out = out;
      self.scope = scope;
    }
  } restore{*this, outer, std::exchange(scope, &inner)};
  execute(body);
  return text;
}

/// The `loop` variable of a turn.
static Value makeLoop(const Scope &scope) {
  const std::vector<Value> &items = *scope.items;
  size_t i = scope.turn;
  auto number = [](size_t n) { return Value(static_cast<int64_t>(n)); };
  auto dict = std::make_shared<DictObject>();
  dict->role = DictObject::Role::Loop;
  dict->entries = {
      {"index", number(i + 1)},
      {"index0", number(i)},
      {"revindex", number(items.size() - i)},
      {"revindex0", number(items.size() - i - 1)},
      {"first", i == 0},
      {"last", i + 1 == items.size()},
      {"length", number(items.size())},
      {"depth", number(1)},
      {"depth0", number(0)},
      {"previtem",
       i > 0 ? items[i - 1] : Value::undefined("there is no previous item")},
      {"nextitem", i + 1 < items.size()
                       ? items[i + 1]
                       : Value::undefined("there is no next item")}};
  return dict;
}

Flow Interpreter::executeFor(const Statement &loop) {
  std::vector<Value> items = itemsOf(evaluate(*loop.expression), budget);
  Scope *outer = scope;
  struct Restore {
    Interpreter &self;
    Scope *outer;
    ~Restore() {
      self.scope = outer;
      --self.loops;
    }
  } restore{*this, outer};
  ++loops;
  if (loop.condition) {
    std::vector<Value> kept;
    for (const Value &item : items) {
      Scope turn{outer, {}, nullptr, 0};
      scope = &turn;
      assign(loop.names, item);
      if (evaluate(*loop.condition).truth())
        kept.push_back(item);
    }
    items = std::move(kept);
  }
  for (size_t i = 0; i < items.size(); ++i) {
    budget.spend(256);
    Scope turn{outer, {}, &items, i};
    scope = &turn;
    assign(loop.names, items[i]);
    if (execute(loop.body) == Flow::Break)
      break;
  }
  scope = outer;
  return items.empty() ? execute(loop.orElse) : Flow::Done;
}

void Interpreter::defineMacro(const Statement &macro) {
  if (scope != &root)
    throw Error("macros are supported outside of loops and macros only");
  root.variables[macro.text] =
      Value::function(macro.text, [this, &macro](const Arguments &arguments) {
        return callMacro(macro, arguments);
      });
}

Value Interpreter::callMacro(const Statement &macro,
                             const Arguments &arguments) {
  if (arguments.positional.size() > macro.names.size())
    throw Error("the macro '{}' takes {} arguments", macro.text,
                macro.names.size());
  Scope local{&root, {}, nullptr, 0};
  Scope *outer = std::exchange(scope, &local);
  int outerLoops = std::exchange(loops, 0);
  struct Restore {
    Interpreter &self;
    Scope *scope;
    int loops;
    ~Restore() {
      self.scope = scope;
      self.loops = loops;
    }
  } restore{*this, outer, outerLoops};
  for (const auto &argument : arguments.named)
    if (std::find(macro.names.begin(), macro.names.end(), argument.first) ==
        macro.names.end())
      throw Error("the macro '{}' has no parameter '{}'", macro.text,
                  argument.first);
  for (size_t i = 0; i < macro.names.size(); ++i) {
    const Value *given = arguments.find(i, macro.names[i]);
    local.variables[macro.names[i]] =
        given ? *given
        : macro.defaults[i]
            ? evaluate(*macro.defaults[i])
            : Value::undefined(fmt::format("parameter '{}' was not provided",
                                           macro.names[i]));
  }
  return text(capture(macro.body));
}

//===----------------------------------------------------------------------===//
// Expressions
//===----------------------------------------------------------------------===//

Value Interpreter::text(std::string value) {
  budget.spend(value.size());
  return value;
}

Value Interpreter::lookUp(const std::string &name) const {
  for (Scope *at = scope; at; at = at->parent) {
    if (auto it = at->variables.find(name); it != at->variables.end())
      return it->second;
    if (at->items && name == "loop")
      return makeLoop(*at);
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
    auto dict = std::make_shared<DictObject>();
    for (size_t i = 0; i < operands.size(); i += 2) {
      Value key = operand(i);
      if (!key.isString() && !key.isNumber() && !key.isNone())
        throw Error("a key must be a str or a number, not {}", key.typeName());
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
  }
  return Value();
}

/// The arguments of a call, filter or test, whose first operand is something
/// else.
Arguments Interpreter::argumentsOf(const Expression &expression) {
  Arguments arguments;
  for (size_t i = 1; i < expression.operands.size(); ++i)
    arguments.positional.push_back(evaluate(*expression.operands[i]));
  for (const auto &[name, value] : expression.named)
    arguments.named.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Interpreter::call(const Expression &expression) {
  Value callee = evaluate(*expression.operands[0]);
  defined(callee);
  if (!callee.isCallable())
    throw Error("{} cannot be called", callee.typeName());
  Arguments arguments = argumentsOf(expression);
  return callee.function().call(arguments);
}

Value Interpreter::unary(const Expression &expression) {
  Value value = evaluate(*expression.operands[0]);
  if (expression.text == "not")
    return !value.truth();
  defined(value);
  if (value.isFloat())
    return expression.text == "-" ? -value.number("-") : value.number("+");
  int64_t whole = value.integer("the operand of a sign");
  if (expression.text == "+")
    return whole;
  if (whole == INT64_MIN)
    throw Error("a number is too large");
  return -whole;
}

/// Integer arithmetic as Python does it, within 64 bits.
static Value wholeArithmetic(const std::string &op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  if (op == "+") {
    overflows = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflows = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflows = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    if (b < 0)
      return std::pow(static_cast<double>(a), static_cast<double>(b));
    result = 1;
    // Beyond 64 turns only -1, 0 and 1 stay within bounds.
    for (int64_t i = 0; i < b && !overflows; ++i) {
      if (a >= -1 && a <= 1 && i > 1)
        return a == -1 && b % 2 == 0 ? int64_t(1) : a;
      overflows = __builtin_mul_overflow(result, a, &result);
    }
  } else {
    if (b == 0)
      throw Error("division by zero");
    if (b == -1)
      overflows = op == "//" && __builtin_sub_overflow(int64_t(0), a, &result);
    else if (op == "//")
      result = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
    else
      result = a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
  }
  if (overflows)
    throw Error("a number is too large");
  return result;
}

static Value realArithmetic(const std::string &op, double a, double b) {
  if (op == "+")
    return a + b;
  if (op == "-")
    return a - b;
  if (op == "*")
    return a * b;
  if (op == "**")
    return std::pow(a, b);
  if (b == 0)
    throw Error("division by zero");
  if (op == "/")
    return a / b;
  if (op == "//")
    return std::floor(a / b);
  double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

Value Interpreter::binary(const Expression &expression) {
  const std::string &op = expression.text;
  Value left = evaluate(*expression.operands[0]);
  if (op == "and" || op == "or")
    return left.truth() == (op == "or") ? left
                                        : evaluate(*expression.operands[1]);
  Value right = evaluate(*expression.operands[1]);
  if (op == "~")
    return text(left.text() + right.text());
  defined(left);
  defined(right);
  if (op == "+" && left.isString() && right.isString())
    return text(left.string() + right.string());
  if (op == "+" && left.isList() && right.isList() &&
      left.list().isTuple == right.list().isTuple) {
    std::vector<Value> items = itemsOf(left, budget),
                       more = itemsOf(right, budget);
    items.insert(items.end(), more.begin(), more.end());
    return left.list().isTuple ? Value::tuple(std::move(items))
                               : Value::list(std::move(items));
  }
  if (op == "*" && left.isNumber() && right.isString())
    std::swap(left, right);
  if (op == "*" && left.isString() && right.isNumber() && !right.isFloat()) {
    std::string repeated;
    for (int64_t i = 0; i < right.integer("*"); ++i) {
      budget.spend(left.string().size());
      repeated += left.string();
    }
    return repeated;
  }
  if (op == "%" && left.isString())
    throw Error("formatting with % is not supported; use ~");
  if (!left.isNumber() || !right.isNumber())
    throw Error("{} {} {} is not possible", left.typeName(), op,
                right.typeName());
  if (left.isFloat() || right.isFloat() || op == "/")
    return realArithmetic(op, left.number(op), right.number(op));
  return wholeArithmetic(op, left.integer(op), right.integer(op));
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

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

Value Interpreter::makeRange(const Arguments &arguments) {
  const auto &given = arguments.positional;
  if (given.empty() || given.size() > 3)
    throw Error("range takes one to three integers");
  int64_t start = given.size() > 1 ? given[0].integer("range") : 0;
  int64_t stop = given[given.size() > 1 ? 1 : 0].integer("range");
  int64_t step = given.size() > 2 ? given[2].integer("range") : 1;
  if (step == 0)
    throw Error("the step of range cannot be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == longestRange)
      throw Error("range gives more than {} items", longestRange);
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  budget.spend(items.size() * sizeof(Value));
  return Value::list(std::move(items));
}

Value Interpreter::makeDict(const Arguments &arguments, DictObject::Role role) {
  auto dict = std::make_shared<DictObject>();
  dict->role = role;
  if (!arguments.positional.empty()) {
    const Value &from = arguments.positional[0];
    if (!from.isDict())
      throw Error("dict and namespace take a dict, not {}", from.typeName());
    dict->entries = from.dict().entries;
  }
  for (const auto &[name, value] : arguments.named)
    dict->set(Value(name), value);
  budget.spend(dict->entries.size() * sizeof(Value) * 2);
  if (role == DictObject::Role::Namespace)
    namespaces.emplace_back(dict);
  return dict;
}

std::string jinja::render(const Body &body, const DictObject &globals) {
  return Interpreter(globals).run(body);
}
