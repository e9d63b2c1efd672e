//===- JinjaValue.h - Values of chat templates ------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace mlsys::rt::jinja {

class Value;
struct Arguments;

/// Destroys an object after those whose destruction is under way on this thread. What holds
/// what can be as deep as a template makes it, and must not be as deep on the stack.
void destroyInTurn(void *object, void (*destroy)(void *));

/// A shared object that is destroyed in turn: a list, a dict or a function.
template <typename T, typename... Parts> std::shared_ptr<T> makeObject(Parts &&...parts) {
  return {new T{std::forward<Parts>(parts)...}, [](T *object) {
            destroyInTurn(const_cast<std::remove_const_t<T> *>(object), [](void *dying) {
              delete static_cast<T *>(dying);
            });
          }};
}

/// Values in order.
struct ListObject {
  enum class Kind {
    List,
    Tuple,
    Group,     ///< A tuple (grouper, list) of the filter groupby.
    Range,     ///< Of range(); as a list but for how it prints.
    Generator, ///< Of a filter: it can be gone through once, and has no length.
    Keys,      ///< Of dict.keys(), dict.values() and dict.items(): no indices.
    Values,
    Items
  };
  std::vector<Value> items;
  Kind kind = Kind::List;
  /// How a range prints.
  std::string text = {};
};

/// A function with its name.
struct Function {
  std::string name;
  std::function<Value(const Arguments &)> call;
};

/// Keys with values, in the order of insertion.
struct DictObject {
  /// Namespaces can be assigned to. Loops and objects have attributes that the
  /// interpreter sets.
  enum class Role { Plain, Namespace, Loop, Object };
  std::vector<std::pair<Value, Value>> entries;
  Role role = Role::Plain;
  /// What calling it does; null when it cannot be called.
  std::shared_ptr<const Function> call = nullptr;

  /// The value of `key`, or null.
  const Value *find(const Value &key) const;
  const Value *find(std::string_view key) const;
  /// Sets the value of `key`.
  void set(Value key, Value value);
};

/// A value with Python's types and meaning. Copies share lists and dicts, which
/// templates cannot change; only namespaces can be assigned to, and generators
/// are used up.
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
  static Value list(std::vector<Value> items,
                    ListObject::Kind kind = ListObject::Kind::List);
  static Value tuple(std::vector<Value> items) {
    return list(std::move(items), ListObject::Kind::Tuple);
  }
  static Value generator(std::vector<Value> items) {
    return list(std::move(items), ListObject::Kind::Generator);
  }
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
  /// Anything that is a ListObject.
  bool hasItems() const { return is<List>(); }
  bool isGenerator() const { return hasItems() && list().kind == ListObject::Kind::Generator; }
  bool isTuple() const {
    return hasItems() &&
           (list().kind == ListObject::Kind::Tuple || list().kind == ListObject::Kind::Group);
  }
  /// What can be indexed: a list, a tuple or a range.
  bool isList() const { return hasItems() && list().kind <= ListObject::Kind::Range; }
  bool isDict() const { return is<Dict>(); }
  /// A dict of Python, not a namespace or the like.
  bool isMapping() const { return isDict() && dict().role == DictObject::Role::Plain; }
  bool isCallable() const { return is<Callable>() || (isDict() && dict().call); }

  bool boolean() const { return std::get<bool>(data); }
  const std::string &string() const { return *std::get<String>(data); }
  ListObject &list() const { return *std::get<List>(data); }
  DictObject &dict() const { return *std::get<Dict>(data); }
  const Function &function() const {
    return isDict() ? *dict().call : *std::get<Callable>(data);
  }
  /// Python's `is`: the same object, or the same none, bool or number.
  bool isSameAs(const Value &other) const;
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
  /// What each level is indented by; nothing for one line.
  std::optional<std::string> indent = {};
  std::string itemSeparator = ", ", keySeparator = ": ";
  bool sortKeys = false;
  /// Writes all but ASCII as escapes.
  bool ensureAscii = false;
};

/// The JSON text of `value`, as Python's json.dumps writes it.
std::string toJson(const Value &value, const JsonStyle &style);

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
