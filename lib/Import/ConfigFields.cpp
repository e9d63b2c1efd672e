//===- ConfigFields.cpp - Typed access to a configuration -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ConfigFields.h"

#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

std::string importer::textOf(const json::Value &value) {
  std::string text;
  raw_string_ostream(text) << value;
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

ConfigFields::ConfigFields(const json::Object &object, StringRef file, KeySpelling spelling,
                           StringRef noun)
    : object(&object), file(file), noun(noun), spelling(std::move(spelling)) {}

const json::Value *ConfigFields::find(StringRef key) const {
  const json::Value *value = object->get(key);
  return value && value->kind() != json::Value::Null ? value : nullptr;
}

std::string ConfigFields::spell(StringRef key) const {
  return spelling ? spelling((prefix + key).str()) : (prefix + key).str();
}

/// The key that is there, else the first.
StringRef ConfigFields::choose(Keys keys) {
  for (StringRef key : keys)
    if (find(key)) {
      (*found)[keys.begin()->str()] = spell(key);
      return key;
    }
  return *keys.begin();
}

void ConfigFields::fail(const Twine &message) {
  if (firstError->empty())
    *firstError = (file + ": " + message).str();
}

template <typename T, typename F>
std::optional<T> ConfigFields::get(Keys keys, StringRef expected, F convert) {
  StringRef key = choose(keys);
  const json::Value *value = find(key);
  if (!value)
    return std::nullopt;
  std::optional<T> result = convert(*value);
  if (!result)
    fail(noun + spell(key) + " is " + textOf(*value) + ", expected " + expected);
  return result;
}

std::optional<int64_t> importer::integerOf(const json::Value &value) {
  std::optional<double> number = value.getAsNumber();
  if (number && *number >= 0x1p63 && !value.getAsUINT64())
    return std::nullopt;
  return value.getAsInteger();
}

std::optional<int64_t> ConfigFields::integer(Keys keys) {
  return get<int64_t>(keys, "an integer", integerOf);
}

std::optional<double> ConfigFields::number(Keys keys) {
  return get<double>(keys, "a number", [](const json::Value &v) {
    std::optional<double> number = v.getAsNumber();
    return number && std::isfinite(*number) ? number : std::nullopt;
  });
}

std::optional<bool> ConfigFields::boolean(Keys keys) {
  return get<bool>(keys, "true or false", [](const json::Value &v) { return v.getAsBoolean(); });
}

std::optional<std::string> ConfigFields::string(Keys keys) {
  return get<std::string>(keys, "a string", [](const json::Value &v) -> std::optional<std::string> {
    if (std::optional<StringRef> text = v.getAsString())
      return text->str();
    return std::nullopt;
  });
}

std::vector<double> ConfigFields::numbers(StringRef key) {
  return get<std::vector<double>>(
             {key}, "a list of numbers",
             [](const json::Value &v) -> std::optional<std::vector<double>> {
               const json::Array *list = v.getAsArray();
               if (!list)
                 return std::nullopt;
               std::vector<double> numbers;
               for (const json::Value &item : *list) {
                 std::optional<double> number = item.getAsNumber();
                 if (!number || !std::isfinite(*number))
                   return std::nullopt;
                 numbers.push_back(*number);
               }
               return numbers;
             })
      .value_or(std::vector<double>());
}

std::vector<std::string> ConfigFields::strings(StringRef key) {
  return get<std::vector<std::string>>(
             {key}, "a list of strings",
             [](const json::Value &v) -> std::optional<std::vector<std::string>> {
               const json::Array *list = v.getAsArray();
               if (!list)
                 return std::nullopt;
               std::vector<std::string> strings;
               for (const json::Value &item : *list) {
                 std::optional<StringRef> text = item.getAsString();
                 if (!text)
                   return std::nullopt;
                 strings.push_back(text->str());
               }
               return strings;
             })
      .value_or(std::vector<std::string>());
}

std::optional<ConfigFields> ConfigFields::child(StringRef key) {
  std::optional<const json::Object *> inside = get<const json::Object *>(
      {key}, "an object", [](const json::Value &v) -> std::optional<const json::Object *> {
        if (const json::Object *child = v.getAsObject())
          return child;
        return std::nullopt;
      });
  if (!inside)
    return std::nullopt;
  ConfigFields fields(**inside, file, spelling, noun);
  fields.prefix = (prefix + key + ".").str();
  fields.firstError = firstError;
  return fields;
}

int64_t ConfigFields::needInteger(Keys keys) {
  std::optional<int64_t> value = integer(keys);
  if (!value)
    fail(noun + spell(*keys.begin()) + " is missing");
  return value.value_or(0);
}

double ConfigFields::needNumber(Keys keys) {
  std::optional<double> value = number(keys);
  if (!value)
    fail(noun + spell(*keys.begin()) + " is missing");
  return value.value_or(0);
}
