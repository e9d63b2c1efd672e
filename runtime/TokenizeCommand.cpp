//===- TokenizeCommand.cpp - Text to ids and back ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Tokenizer.h"
#include "runtime/Utf8.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;

std::vector<int64_t> rt::parseIds(const std::string &text) {
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '{') {
    nlohmann::json object = nlohmann::json::parse(text, nullptr, false);
    if (!object.is_object() || !object.contains("ids") || !object["ids"].is_array())
      throw Error("expected a JSON object {{\"ids\": [...]}}");
    std::vector<int64_t> ids;
    for (const auto &id : object["ids"]) {
      if (!id.is_number_integer())
        throw Error("expected token ids, found {}", id.dump());
      ids.push_back(id.get<int64_t>());
    }
    return ids;
  }
  std::vector<int64_t> ids;
  constexpr std::string_view separators = " \t\r\n,[]";
  for (size_t position = 0; (position = text.find_first_not_of(separators, position)) !=
                            std::string::npos;) {
    size_t end = std::min(text.find_first_of(separators, position), text.size());
    int64_t id = 0;
    auto [stop, error] = std::from_chars(text.data() + position, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end)
      throw Error("expected token ids, found '{}'", text.substr(position, end - position));
    ids.push_back(id);
    position = end;
  }
  return ids;
}

static Tokenizer openTokenizer(const TextMaterial &material) {
  if (material.tokenizerJson.empty())
    throw Error("the model has no tokenizer (tokenizer.json)");
  return Tokenizer::fromJson(material.tokenizerJson, material.tokenizerConfigJson);
}

int rt::runTokenize(const TextMaterial &material, const std::string &input,
                    const TokenizeRequest &request, Streams streams) {
  Tokenizer tokenizer = openTokenizer(material);
  if (!isValidUtf8(input))
    streams.log << "warning: the text is not valid UTF-8; wrong bytes become U+FFFD\n";
  std::vector<int64_t> ids = tokenizer.encode(input, request.special);
  if (request.json)
    streams.out << nlohmann::json{{"ids", ids}}.dump() << "\n";
  else
    streams.out << fmt::format("{}\n", fmt::join(ids, " "));
  return 0;
}

int rt::runDetokenize(const TextMaterial &material, const std::string &input,
                      const TokenizeRequest &request, Streams streams) {
  Tokenizer tokenizer = openTokenizer(material);
  std::vector<int64_t> ids = parseIds(input);
  for (int64_t id : ids)
    if (id < 0 || id >= tokenizer.vocabSize())
      throw Error("token id {} is not in the vocabulary of {}", id, tokenizer.vocabSize());
  std::string text = tokenizer.decode(ids, /*skipSpecialTokens=*/!request.special);
  if (request.json)
    streams.out << nlohmann::json{{"text", text}}.dump() << "\n";
  else
    streams.out << text;
  return 0;
}
