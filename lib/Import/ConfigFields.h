//===- ConfigFields.h - Typed access to a configuration ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mlsys::importer {

/// How a file writes a key: config.json as it is, GGUF as "llama.block_count".
using KeySpelling = std::function<std::string(llvm::StringRef key)>;

/// The integer that a JSON number is, if it is one and fits. As Value::getAsInteger,
/// but 2^63 written with a fraction or an exponent does not fit, either.
std::optional<int64_t> integerOf(const llvm::json::Value &value);

/// A JSON object's entries. The first entry of a wrong type, or that is missing
/// although needed, is kept as the error; null counts as absent. Where several
/// keys are given they are names of one thing, and the first that is there counts.
class ConfigFields {
public:
  using Keys = std::initializer_list<llvm::StringRef>;

  /// `object` outlives this. `file` is for messages, in which `noun` stands before keys.
  ConfigFields(const llvm::json::Object &object, llvm::StringRef file, KeySpelling spelling = {},
               llvm::StringRef noun = "");

  bool has(llvm::StringRef key) const { return find(key) != nullptr; }
  std::optional<int64_t> integer(Keys keys);
  std::optional<double> number(Keys keys);
  std::optional<bool> boolean(Keys keys);
  std::optional<std::string> string(Keys keys);
  /// A list of finite numbers; empty when it is absent.
  std::vector<double> numbers(llvm::StringRef key);
  /// A list of strings; empty when it is absent.
  std::vector<std::string> strings(llvm::StringRef key);
  /// The fields of an object inside, whose errors become this one's.
  std::optional<ConfigFields> child(llvm::StringRef key);

  int64_t needInteger(Keys keys);
  double needNumber(Keys keys);

  /// Keeps `message`, behind the file's name, when it is the first.
  void fail(const llvm::Twine &message);
  /// Empty when all went well.
  const std::string &error() const { return *firstError; }
  /// The key as its file writes it.
  std::string spell(llvm::StringRef key) const;
  /// Which of the names of one thing was found, by the first of them.
  const std::map<std::string, std::string> &foundNames() const { return *found; }

private:
  const llvm::json::Value *find(llvm::StringRef key) const;
  llvm::StringRef choose(Keys keys);
  template <typename T, typename F>
  std::optional<T> get(Keys keys, llvm::StringRef expected, F convert);

  const llvm::json::Object *object;
  std::string file, prefix, noun;
  KeySpelling spelling;
  std::shared_ptr<std::string> firstError = std::make_shared<std::string>();
  std::shared_ptr<std::map<std::string, std::string>> found =
      std::make_shared<std::map<std::string, std::string>>();
};

/// A value as JSON, cut when it is long.
std::string textOf(const llvm::json::Value &value);

} // namespace mlsys::importer
