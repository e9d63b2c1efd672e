//===- JinjaValue.h - Values of chat templates ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mlsys::rt::jinja {

class Value;
struct Arguments;

/// Values in order, as a list or a tuple.
struct ListObject {
  std::vector<Value> items;
  bool isTuple = false;
};

/// Keys with values, in the order of insertion.
struct DictObject {
  enum class Role { Plain, Namespace, Loop };
  std::vector<std::pair<Value, Value>> entries;
  Role role = Role::Plain;

  /// The value of `key`, or null.
  const Value *find(const Value &key) const;
  const Value *find(std::string_view key) const;
  /// Sets the value of `key`.
  void set(Value key, Value value);
};

/// A function with its name.
struct Function {
  std::string name;
  std::function<Value(const Arguments &)> call;
};

/// A value with Python's types and meaning. Copies share lists and dicts, which
/// templates cannot change; only namespaces can be assigned to.
class Value {
public:
  /// A name that has no value; `name` is for messages.
  struct Undefined {
    std::string what;
  };
  struct None {};
  using String = std::shared_ptr<const std::string>;
  using List = std::shared_ptr<ListObject>;
  using Dict = std::shared_ptr<DictObject>;
  using Callable = std::shared_ptr<const Function>;

  Value() : data(None()) {}
  Value(bool value) : data(value) {}
  Value(int64_t value) : data(value) {}
  Value(double value) : data(value) {}
  Value(std::string value)
      : data(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char *value) : Value(std::string(value)) {}
  Value(Dict dict) : data(std::move(dict)) {}
  Value(Callable function) : data(std::move(function)) {}
  template <typename T> Value(T *) = delete;

  static Value undefined(std::string what);
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value function(std::string name,
                        std::function<Value(const Arguments &)> call);

  bool isUndefined() const { return is<Undefined>(); }
  bool isNone() const { return is<None>(); }
  bool isBool() const { return is<bool>(); }
  bool isInteger() const { return is<int64_t>(); }
  bool isFloat() const { return is<double>(); }
  /// An integer, float or bool.
  bool isNumber() const { return isBool() || isInteger() || isFloat(); }
  bool isString() const { return is<String>(); }
  bool isList() const { return is<List>(); }
  bool isDict() const { return is<Dict>(); }
  bool isCallable() const { return is<Callable>(); }

  bool boolean() const { return std::get<bool>(data); }
  const std::string &string() const { return *std::get<String>(data); }
  const ListObject &list() const { return *std::get<List>(data); }
  DictObject &dict() const { return *std::get<Dict>(data); }
  const Function &function() const { return *std::get<Callable>(data); }
  /// What an undefined value lacks.
  const std::string &undefinedWhat() const {
    return std::get<Undefined>(data).what;
  }

  /// An integer or bool as a number; throws for others. `what` names the use.
  int64_t integer(std::string_view what) const;
  /// A number as floating point; throws for others.
  double number(std::string_view what) const;

  /// Python's truth.
  bool truth() const;
  /// Python's name of the type, for messages.
  const char *typeName() const;
  /// Python's str(): the text that output shows.
  std::string text() const;
  /// Python's repr().
  std::string repr(int depth = 0) const;

private:
  template <typename T> bool is() const {
    return std::holds_alternative<T>(data);
  }

  std::variant<Undefined, None, bool, int64_t, double, String, List, Dict,
               Callable>
      data;
};

/// Python's ==.
bool operator==(const Value &a, const Value &b);

/// Python's order: negative, zero or positive; throws for types without one.
int compare(const Value &a, const Value &b);

/// How tojson writes.
struct JsonStyle {
  int indent = -1; ///< Spaces a level; below 0 for one line.
  bool sortKeys = false;
};

/// The JSON text of `value`, as Python's json.dumps with ensure_ascii off.
std::string toJson(const Value &value, JsonStyle style);

/// What a call is given.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// Argument `index`, or the one named `name`, or null.
  const Value *find(size_t index, std::string_view name) const;
  /// The same; throws when there is none. `callee` is for the message.
  const Value &get(size_t index, std::string_view name,
                   std::string_view callee) const;
};

} // namespace mlsys::rt::jinja
