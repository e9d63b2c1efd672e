//===- Tokenizer.cpp - From text to token ids and back --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TokenizerData.h"

#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"

#include <algorithm>

using namespace mlsys::rt;

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

void Tokenizer::Data::addToken(const AddedToken &token) {
  std::string &name = tokens[token.id];
  if (!name.empty() && name != token.content && model->find(name) != token.id)
    throw Error("tokenizer.json: '{}' and '{}' have the same id {}",
                token.content, name, token.id);
  name = token.content;
  special[token.id] = special[token.id] || token.special;
  added.emplace(token.content, static_cast<int32_t>(token.id));
  if (token.normalized)
    normalizedMatcher.add(normalizer.apply(token.content), token);
  else
    rawMatcher.add(token.content, token);
}

void Tokenizer::Data::loadTokens(const nlohmann::json &root,
                                 const nlohmann::json &config) {
  int64_t size = 0;
  for (const auto &[token, id] : model->vocabulary())
    size = std::max<int64_t>(size, id + 1);

  std::vector<AddedToken> list;
  const char *where = "tokenizer.json, added_tokens";
  const json::Json &fromFile = json::member(root, "added_tokens");
  if (!fromFile.is_null())
    for (const json::Json &entry : json::list(root, "added_tokens", where))
      list.push_back(AddedToken::fromJson(
          entry, json::index(json::member(entry, "id"), Bpe::idLimit, where),
          where));
  std::vector<int64_t> known;
  for (const AddedToken &token : list)
    known.push_back(token.id);
  where = "tokenizer_config.json, added_tokens_decoder";
  for (const auto &[key, entry] :
       json::member(config, "added_tokens_decoder").items()) {
    json::Json id = json::Json::parse(key, nullptr, false);
    AddedToken token = AddedToken::fromJson(
        entry, json::index(id, Bpe::idLimit, where), where);
    if (std::find(known.begin(), known.end(), token.id) == known.end())
      list.push_back(std::move(token));
  }

  for (AddedToken &token : list) {
    // A token of the model keeps the model's id.
    if (auto id = model->find(token.content))
      token.id = *id;
    size = std::max(size, token.id + 1);
  }
  int64_t count = model->vocabulary().size() + list.size();
  if (size > 4 * count + 65536)
    throw Error(
        "tokenizer.json: the largest id is {}, but there are only {} tokens",
        size - 1, count);
  tokens.resize(size);
  special.resize(size);
  for (const auto &[token, id] : model->vocabulary())
    tokens[id] = token;
  // Special tokens go first, so they win over equal others.
  for (bool special : {true, false})
    for (const AddedToken &token : list)
      if (token.special == special && !token.content.empty())
        addToken(token);
}

void Tokenizer::Data::loadPostProcessor(const nlohmann::json &description,
                                        int depth) {
  const char *where = "tokenizer.json, post_processor";
  if (description.is_null())
    return;
  const std::string &type = json::string(description, "type", where);
  if (type == "ByteLevel")
    return; // It changes offsets only.
  if (type == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child : json::list(description, "processors", where))
      loadPostProcessor(child, depth + 1);
    return;
  }
  if (type != "TemplateProcessing")
    throw Error(
        "{} '{}' is not supported; supported are TemplateProcessing, ByteLevel "
        "and Sequence",
        where, type);
  const json::Json &known = json::member(description, "special_tokens");
  std::vector<int64_t> framed;
  for (const json::Json &piece : json::list(description, "single", where)) {
    const json::Json &token = json::member(piece, "SpecialToken");
    if (token.is_null()) {
      const std::string &id =
          json::string(json::member(piece, "Sequence"), "id", where);
      if (id != "A")
        throw Error("{}: the template for one text names a sequence '{}'",
                    where, id);
      framed.insert(framed.end(), frame.begin(), frame.end());
      continue;
    }
    const std::string &name = json::string(token, "id", where);
    const json::Json &entry = json::member(known, name.c_str());
    if (entry.is_null())
      throw Error("{}: '{}' is not among the special_tokens", where, name);
    for (const json::Json &id : json::list(entry, "ids", where))
      framed.push_back(json::index(id, tokens.size(), where));
  }
  if (framed.size() > 4096)
    throw Error("{}: the template has more than 4096 tokens", where);
  frame = std::move(framed);
}

/// A token of tokenizer_config.json: a string, or an object with its content.
static std::string tokenName(const json::Json &config, const char *key) {
  const json::Json &value = json::member(config, key);
  if (value.is_null())
    return "";
  const char *where = "tokenizer_config.json";
  return value.is_object() ? json::string(value, "content", where)
                           : json::string(config, key, where);
}

void Tokenizer::Data::loadConfig(const nlohmann::json &config) {
  const char *where = "tokenizer_config.json";
  bosToken = tokenName(config, "bos_token");
  eosToken = tokenName(config, "eos_token");
  const json::Json &chat = json::member(config, "chat_template");
  if (chat.is_string()) {
    chatTemplate = chat.get<std::string>();
  } else if (!chat.is_null()) {
    // Several templates, each with a name.
    for (const json::Json &entry : json::list(config, "chat_template", where))
      if (json::string(entry, "name", where) == "default")
        chatTemplate = json::string(entry, "template", where);
  }
}

Tokenizer::Tokenizer(std::shared_ptr<const Data> data)
    : data(std::move(data)) {}

Tokenizer Tokenizer::fromJson(const std::string &tokenizerJson,
                              const std::string &tokenizerConfigJson) {
  json::Json root = json::parse(tokenizerJson, "tokenizer.json");
  if (!root.is_object())
    throw Error("tokenizer.json must be an object but is {}", root.type_name());
  json::Json config = json::Json::object();
  if (!tokenizerConfigJson.empty())
    config = json::parse(tokenizerConfigJson, "tokenizer_config.json");

  auto data = std::make_shared<Data>();
  data->normalizer = Normalizer::fromJson(json::member(root, "normalizer"));
  data->preTokenizer =
      PreTokenizer::fromJson(json::member(root, "pre_tokenizer"));
  const json::Json &model = json::member(root, "model");
  if (!model.is_object())
    throw Error("tokenizer.json has no model");
  data->model = Bpe::fromJson(model, data->preTokenizer.yieldsBytes());
  data->decoder = TokenDecoder::fromJson(json::member(root, "decoder"));
  data->loadTokens(root, config);
  data->loadPostProcessor(json::member(root, "post_processor"), 0);
  data->loadConfig(config);
  return Tokenizer(std::move(data));
}

//===----------------------------------------------------------------------===//
// Encoding and decoding
//===----------------------------------------------------------------------===//

void Tokenizer::Data::encodeStretch(Bpe::Session &session, Piece stretch,
                                    std::vector<int64_t> &ids) const {
  std::string normalized;
  if (!normalizer.isIdentity()) {
    normalized = normalizer.apply(stretch.text);
    stretch.text = normalized;
  }
  PieceSink encodeWord = [&](Piece word) { session.encode(word.text, ids); };
  normalizedMatcher.split(
      stretch.text, [&](size_t begin, size_t end, int64_t id) {
        if (id >= 0)
          ids.push_back(id);
        else
          preTokenizer.split({stretch.text.substr(begin, end - begin),
                              stretch.atStart && begin == 0},
                             encodeWord);
      });
}

std::vector<int64_t> Tokenizer::encode(std::string_view text,
                                       bool addSpecialTokens) const {
  std::string repaired;
  if (!isValidUtf8(text)) {
    repaired = repairUtf8(text);
    text = repaired;
  }
  std::vector<int64_t> ids;
  Bpe::Session session(*data->model, text.size());
  data->rawMatcher.split(text, [&](size_t begin, size_t end, int64_t id) {
    if (id >= 0)
      ids.push_back(id);
    else
      data->encodeStretch(session,
                          {text.substr(begin, end - begin), begin == 0}, ids);
  });
  if (!addSpecialTokens || data->frame == std::vector<int64_t>{-1})
    return ids;
  std::vector<int64_t> framed;
  for (int64_t id : data->frame)
    if (id >= 0)
      framed.push_back(id);
    else
      framed.insert(framed.end(), ids.begin(), ids.end());
  return framed;
}

std::string Tokenizer::decode(std::span<const int64_t> ids,
                              bool skipSpecialTokens) const {
  DecoderStream stream(data->decoder);
  std::string text;
  for (int64_t id : ids)
    if (auto name = token(id); name && !(skipSpecialTokens && isSpecial(id)))
      text += stream.push(*name);
  return text += stream.finish();
}

std::string Tokenizer::tokenBytes(int64_t id) const {
  auto name = token(id);
  return name ? data->decoder.bytesOf(*name) : "";
}

std::optional<std::string_view> Tokenizer::token(int64_t id) const {
  if (id < 0 || id >= vocabSize() || data->tokens[id].empty())
    return std::nullopt;
  return data->tokens[id];
}

bool Tokenizer::isSpecial(int64_t id) const {
  return id >= 0 && id < vocabSize() && data->special[id];
}

int64_t Tokenizer::vocabSize() const { return data->tokens.size(); }

std::optional<int64_t> Tokenizer::tokenId(std::string_view token) const {
  if (auto it = data->added.find(token); it != data->added.end())
    return it->second;
  if (auto id = data->model->find(token))
    return *id;
  return std::nullopt;
}

const std::string &Tokenizer::bosToken() const { return data->bosToken; }
const std::string &Tokenizer::eosToken() const { return data->eosToken; }
const std::string &Tokenizer::chatTemplate() const {
  return data->chatTemplate;
}
