//===- JinjaArithmetic.cpp - Operators of chat templates --------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/JinjaBuiltins.h"

#include "runtime/Error.h"

#include <cmath>

using namespace mlsys::rt;
using namespace mlsys::rt::jinja;

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
    if (b < 0) {
      if (a == 0)
        throw Error("division by zero");
      return std::pow(static_cast<double>(a), static_cast<double>(b));
    }
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

/// A str, list or tuple, several times.
static Value repeat(const Value &value, int64_t times, Budget &budget) {
  if (value.isString()) {
    std::string repeated;
    for (int64_t i = 0; i < times; ++i) {
      budget.spend(value.string().size());
      repeated += value.string();
    }
    return repeated;
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < times; ++i) {
    std::vector<Value> more = itemsOf(value, budget);
    items.insert(items.end(), more.begin(), more.end());
  }
  return value.isTuple() ? Value::tuple(std::move(items)) : Value::list(std::move(items));
}

/// A list or tuple, with which + and * work.
static bool isRow(const Value &value) {
  return value.isTuple() || (value.isList() && value.list().kind == ListObject::Kind::List);
}

Value jinja::arithmetic(const std::string &op, Value left, Value right, Budget &budget) {
  if (op == "~") {
    std::string text = left.text() + right.text();
    budget.spend(text.size());
    return text;
  }
  defined(left);
  defined(right);
  if (op == "+" && left.isString() && right.isString()) {
    budget.spend(left.string().size() + right.string().size());
    return left.string() + right.string();
  }
  if (op == "+" && isRow(left) && isRow(right) && left.isTuple() == right.isTuple()) {
    std::vector<Value> items = itemsOf(left, budget),
                       more = itemsOf(right, budget);
    items.insert(items.end(), more.begin(), more.end());
    return left.isTuple() ? Value::tuple(std::move(items)) : Value::list(std::move(items));
  }
  if (op == "*" && left.isNumber() && (right.isString() || isRow(right)))
    std::swap(left, right);
  if (op == "*" && (left.isString() || isRow(left)) && right.isNumber() && !right.isFloat())
    return repeat(left, right.integer("*"), budget);
  if (op == "%" && left.isString())
    return formatPercent(left.string(), right, budget);
  if (!left.isNumber() || !right.isNumber())
    throw Error("{} {} {} is not possible", left.typeName(), op,
                right.typeName());
  if (left.isFloat() || right.isFloat() || op == "/")
    return realArithmetic(op, left.number(op), right.number(op));
  return wholeArithmetic(op, left.integer(op), right.integer(op));
}

Value jinja::signedValue(const std::string &op, const Value &value) {
  defined(value);
  if (value.isFloat())
    return op == "-" ? -value.number("-") : value.number("+");
  int64_t whole = value.integer("the operand of a sign");
  if (op == "+")
    return whole;
  if (whole == INT64_MIN)
    throw Error("a number is too large");
  return -whole;
}
