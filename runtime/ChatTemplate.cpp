//===- ChatTemplate.cpp - Prompts from conversations ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ChatTemplate.h"

#include "runtime/Error.h"
#include "runtime/JinjaBuiltins.h"
#include "runtime/JinjaInterpreter.h"
#include "runtime/JinjaParser.h"
#include "runtime/Utf8.h"

#include <nlohmann/json.hpp>

using namespace mlsys::rt;
using jinja::Arguments;
using jinja::DictObject;
using jinja::Value;

struct ChatTemplate::Data {
  jinja::Body body;
};

ChatTemplate ChatTemplate::parse(const std::string &jinja) {
  ChatTemplate result;
  result.data = std::make_shared<const Data>(Data{jinja::parse(jinja)});
  return result;
}

/// The time as Python's datetime.strftime writes it.
static std::string formatTime(const std::string &format,
                              std::optional<std::time_t> now) {
  constexpr size_t longest = 1024;
  if (format.size() > longest)
    throw Error("the format of strftime_now has more than {} bytes", longest);
  std::time_t time = now ? *now : std::time(nullptr);
  std::tm parts{};
  if (!(now ? gmtime_r(&time, &parts) : localtime_r(&time, &parts)))
    throw Error("the time cannot be told");
  // A mark in front tells an empty result from one that does not fit.
  std::string text(64 * longest, '\0');
  size_t length =
      std::strftime(text.data(), text.size(), ("." + format).c_str(), &parts);
  if (length == 0)
    throw Error("the format of strftime_now gives too long a text");
  return text.substr(1, length - 1);
}

static std::string render(const jinja::Body &body, DictObject &variables,
                          std::optional<std::time_t> now) {
  variables.set(
      "raise_exception",
      Value::function("raise_exception", [](const Arguments &a) -> Value {
        throw Error("{}", a.get(0, "message", "raise_exception").text());
      }));
  variables.set(
      "strftime_now",
      Value::function("strftime_now", [now](const Arguments &a) -> Value {
        const Value &format = a.get(0, "format", "strftime_now");
        if (!format.isString())
          throw Error("strftime_now needs a str, not {}", format.typeName());
        return formatTime(format.string(), now);
      }));
  return jinja::render(body, variables);
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 bool addGenerationPrompt,
                                 const std::string &bosToken,
                                 const std::string &eosToken,
                                 std::optional<std::time_t> now) const {
  std::vector<Value> list;
  for (const ChatMessage &message : messages) {
    auto entry = jinja::makeObject<DictObject>();
    entry->set("role", repairUtf8(message.role));
    entry->set("content", repairUtf8(message.content));
    list.emplace_back(entry);
  }
  DictObject variables;
  variables.set("messages", Value::list(std::move(list)));
  variables.set("add_generation_prompt", addGenerationPrompt);
  variables.set("bos_token", bosToken);
  variables.set("eos_token", eosToken);
  variables.set("tools", Value());
  variables.set("documents", Value());
  return ::render(data->body, variables, now);
}

static Value fromJson(const nlohmann::ordered_json &json) {
  if (json.is_boolean())
    return json.get<bool>();
  if (json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX)
    throw Error("the number {} is too large", json.get<uint64_t>());
  if (json.is_number_integer())
    return json.get<int64_t>();
  if (json.is_number())
    return json.get<double>();
  if (json.is_string())
    return json.get<std::string>();
  if (json.is_array()) {
    std::vector<Value> items;
    for (const auto &item : json)
      items.push_back(fromJson(item));
    return Value::list(std::move(items));
  }
  if (json.is_object()) {
    auto dict = jinja::makeObject<DictObject>();
    for (const auto &[key, value] : json.items())
      dict->entries.emplace_back(key, fromJson(value));
    return dict;
  }
  return Value();
}

std::string ChatTemplate::renderJson(const std::string &variables,
                                     std::optional<std::time_t> now) const {
  // The depth is bounded, since reading it recurses.
  constexpr int deepest = 100;
  bool tooDeep = false;
  auto limit = [&](int depth, auto, auto &) {
    return !(tooDeep |= depth > deepest);
  };
  nlohmann::ordered_json json;
  try {
    json = nlohmann::ordered_json::parse(variables, limit);
  } catch (const nlohmann::ordered_json::exception &error) {
    throw Error("the variables of the chat template are not JSON: {}",
                error.what());
  }
  if (tooDeep)
    throw Error("the variables of the chat template nest more than {} deep",
                deepest);
  if (!json.is_object())
    throw Error("the variables of the chat template must be a JSON object");
  DictObject globals = fromJson(json).dict();
  return ::render(data->body, globals, now);
}
