//===- PostProcessor.cpp - Post-processors of tokenizer.json --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/PostProcessor.h"

#include "runtime/JsonFields.h"

using namespace mlsys::rt;

static const char *const where = "tokenizer.json, post_processor";

PostProcessor::Template PostProcessor::readTemplate(const nlohmann::json &description,
                                                    const char *key, int64_t idLimit) {
  constexpr size_t mostIds = 4096;
  const json::Json &known = json::member(description, "special_tokens");
  Template result;
  size_t count = 0;
  for (const json::Json &piece : json::list(description, key, where)) {
    Part part;
    const json::Json &token = json::member(piece, "SpecialToken");
    const json::Json &said = token.is_null() ? json::member(piece, "Sequence") : token;
    const std::string &id = json::string(said, "id", where);
    if (const json::Json &type = json::member(said, "type_id"); !type.is_null())
      part.typeId = json::index(type, int64_t(1) << 32, where);
    if (token.is_null()) {
      part.sequence = id == "A" ? 0 : 1;
      bool isPair = key == std::string_view("pair");
      if (id != "A" && !(id == "B" && isPair))
        throw Error("{}: the template '{}' names a sequence '{}'", where, key, id);
    } else {
      const json::Json &entry = json::member(known, id.c_str());
      if (entry.is_null())
        throw Error("{}: '{}' is not among the special_tokens", where, id);
      for (const json::Json &value : json::list(entry, "ids", where))
        part.ids.push_back(json::index(value, idLimit, where));
    }
    count += part.ids.size() + 1;
    if (count > mostIds)
      throw Error("{}: the template has more than {} tokens", where, mostIds);
    result.push_back(std::move(part));
  }
  return result;
}

void PostProcessor::add(const nlohmann::json &description, int64_t idLimit, int depth,
                        bool &isSet) {
  const std::string &type = json::string(description, "type", where);
  if (type == "ByteLevel")
    return; // It changes offsets only.
  if (type == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child : json::list(description, "processors", where))
      add(child, idLimit, depth + 1, isSet);
    return;
  }
  if (isSet)
    throw Error("{}: a sequence of two that add tokens is not supported", where);
  isSet = true;
  if (type == "TemplateProcessing") {
    single = readTemplate(description, "single", idLimit);
    pair.clear();
    if (!json::member(description, "pair").is_null())
      pair = readTemplate(description, "pair", idLimit);
    return;
  }
  bool isRoberta = type == "RobertaProcessing";
  if (type != "BertProcessing" && !isRoberta)
    throw Error("{} '{}' is not supported; supported are TemplateProcessing, BertProcessing, "
                "RobertaProcessing, ByteLevel and Sequence",
                where, type);
  auto token = [&](const char *key) {
    const json::Json &value = json::list(description, key, where);
    if (value.size() != 2)
      throw Error("{}: '{}' must be a token and its id", where, key);
    return Part{-1, {json::index(value[1], idLimit, where)}, 0};
  };
  Part start = token("cls"), end = token("sep"), first{0, {}, 0}, second{1, {}, isRoberta ? 0 : 1};
  single = {start, first, end};
  pair = {start, first, end};
  if (isRoberta)
    pair.push_back(end);
  pair.push_back(second);
  end.typeId = second.typeId;
  pair.push_back(end);
}

PostProcessor PostProcessor::fromJson(const nlohmann::json &description, int64_t idLimit) {
  PostProcessor result;
  bool isSet = false;
  if (!description.is_null())
    result.add(description, idLimit, 0, isSet);
  return result;
}

Encoding PostProcessor::apply(std::span<const int64_t> ids, bool addSpecialTokens) const {
  Encoding result;
  for (const Part &part : single) {
    if (part.sequence < 0 && !addSpecialTokens)
      continue;
    std::span<const int64_t> added = part.sequence < 0 ? std::span(part.ids) : ids;
    result.ids.insert(result.ids.end(), added.begin(), added.end());
    result.typeIds.resize(result.ids.size(), part.typeId);
  }
  return result;
}

Encoding PostProcessor::apply(std::span<const int64_t> first, std::span<const int64_t> second,
                              bool addSpecialTokens) const {
  if (pair.empty())
    throw Error("{} has no template for a pair of texts", where);
  Encoding result;
  for (const Part &part : pair) {
    if (part.sequence < 0 && !addSpecialTokens)
      continue;
    std::span<const int64_t> added = part.sequence < 0    ? std::span(part.ids)
                                     : part.sequence == 0 ? first
                                                          : second;
    result.ids.insert(result.ids.end(), added.begin(), added.end());
    result.typeIds.resize(result.ids.size(), part.typeId);
  }
  return result;
}
