//===- Tokenizer.cpp - From text to token ids and back --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TokenizerData.h"

#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <unordered_set>

using namespace mlsys::rt;

//===----------------------------------------------------------------------===//
// Loading
//===----------------------------------------------------------------------===//

/// The tokens of "added_tokens" and those that tokenizer_config.json adds, with
/// their final ids.
std::vector<AddedToken> Tokenizer::Data::readAddedTokens(const nlohmann::json &root,
                                                         const nlohmann::json &config) const {
  std::vector<AddedToken> list;
  const char *where = "tokenizer.json, added_tokens";
  const json::Json &fromFile = json::member(root, "added_tokens");
  if (!fromFile.is_null())
    for (const json::Json &entry : json::list(root, "added_tokens", where))
      list.push_back(AddedToken::fromJson(
          entry, json::index(json::member(entry, "id"), TokenModel::idLimit, where), where));
  std::unordered_set<int64_t> known;
  for (const AddedToken &token : list)
    known.insert(token.id);
  where = "tokenizer_config.json, added_tokens_decoder";
  for (const auto &[key, entry] : json::member(config, "added_tokens_decoder").items()) {
    json::Json id = json::Json::parse(key, nullptr, false);
    AddedToken token =
        AddedToken::fromJson(entry, json::index(id, TokenModel::idLimit, where), where);
    if (!known.contains(token.id))
      list.push_back(std::move(token));
  }
  std::erase_if(list, [](const AddedToken &token) { return token.content.empty(); });
  // A token of the model keeps the model's id.
  for (AddedToken &token : list)
    if (auto id = model->find(token.content))
      token.id = *id;
  // Special tokens go first, so they win over equal others.
  std::vector<AddedToken> ordered;
  for (bool special : {true, false})
    std::copy_if(list.begin(), list.end(), std::back_inserter(ordered),
                 [special](const AddedToken &token) { return token.special == special; });
  return ordered;
}

void Tokenizer::Data::loadTokens(const nlohmann::json &root, const nlohmann::json &config) {
  std::vector<AddedToken> list = readAddedTokens(root, config);
  int64_t size = 0, count = list.size();
  model->forEachToken([&](const std::string &, int32_t id) {
    size = std::max<int64_t>(size, id + 1);
    ++count;
  });
  for (const AddedToken &token : list)
    size = std::max(size, token.id + 1);
  if (size > 4 * count + 65536)
    throw Error("tokenizer.json: the largest id is {}, but there are only {} tokens", size - 1,
                count);
  tokens.resize(size);
  special.resize(size);
  model->forEachToken([&](const std::string &token, int32_t id) { tokens[id] = token; });
  decoded = tokens;

  std::vector<AddedTokenMatcher::Pattern> raw, normalized;
  std::unordered_set<std::string_view> specialNames;
  for (const AddedToken &token : list) {
    std::string &name = tokens[token.id];
    if (!name.empty() && name != token.content && model->find(name) != token.id)
      throw Error("tokenizer.json: '{}' and '{}' have the same id {}", token.content, name,
                  token.id);
    name = decoded[token.id] = token.content;
    added.emplace(token.content, static_cast<int32_t>(token.id));
    if (token.special)
      specialNames.insert(token.content);
    if (token.normalized) {
      // What is found in normalized text is also decoded from it.
      decoded[token.id] = normalizer.apply(token.content);
      normalized.push_back({decoded[token.id], token});
    } else {
      raw.push_back({token.content, token});
    }
  }
  for (size_t id = 0; id < decoded.size(); ++id)
    special[id] = specialNames.contains(decoded[id]);
  rawMatcher = AddedTokenMatcher(std::move(raw));
  normalizedMatcher = AddedTokenMatcher(std::move(normalized));
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
  const json::Json &model = json::member(root, "model");
  if (!model.is_object())
    throw Error("tokenizer.json has no model");
  data->preTokenizer = PreTokenizer::fromJson(json::member(root, "pre_tokenizer"),
                                              TokenModel::takesBytes(model));
  data->model = TokenModel::fromJson(model, data->preTokenizer.yieldsBytes());
  data->decoder = TokenDecoder::fromJson(json::member(root, "decoder"));
  data->loadTokens(root, config);
  data->postProcessor = PostProcessor::fromJson(json::member(root, "post_processor"),
                                                static_cast<int64_t>(data->tokens.size()));
  data->loadConfig(config);
  return Tokenizer(std::move(data));
}

//===----------------------------------------------------------------------===//
// Encoding and decoding
//===----------------------------------------------------------------------===//

void Tokenizer::Data::encodeStretch(Session &session, Piece stretch, bool specialIsText,
                                    std::vector<int64_t> &ids) const {
  stretch.text = normalizer.apply(stretch.text, session.buffers, stretch.atStart);
  auto encodeWord = [&](Piece word) { session.model->encode(word.text, ids); };
  normalizedMatcher.split(stretch.text, specialIsText, [&](size_t begin, size_t end, int64_t id) {
    if (id >= 0)
      ids.push_back(id);
    else
      preTokenizer.split(
          {stretch.text.substr(begin, end - begin), stretch.atStart && begin == 0}, encodeWord);
  });
}

void Tokenizer::Data::encode(std::string_view text, bool specialIsText,
                             std::vector<int64_t> &ids) const {
  std::string repaired;
  if (!isValidUtf8(text)) {
    repaired = repairUtf8(text);
    text = repaired;
  }
  std::unique_ptr<Session> session;
  {
    std::lock_guard lock(mutex);
    if (!idleSessions.empty()) {
      session = std::move(idleSessions.back());
      idleSessions.pop_back();
    }
  }
  if (!session)
    session = std::make_unique<Session>(Session{model->makeSession(), {}});
  rawMatcher.split(text, specialIsText, [&](size_t begin, size_t end, int64_t id) {
    if (id >= 0)
      ids.push_back(id);
    else
      encodeStretch(*session, {text.substr(begin, end - begin), begin == 0}, specialIsText, ids);
  });
  // One long text may not hold its memory for good.
  constexpr size_t mostKept = size_t(1) << 22;
  for (std::string &buffer : session->buffers.texts)
    if (buffer.capacity() > mostKept)
      std::string().swap(buffer);
  std::lock_guard lock(mutex);
  idleSessions.push_back(std::move(session));
}

std::vector<int64_t> Tokenizer::encode(std::string_view text, bool addSpecialTokens) const {
  std::vector<int64_t> ids;
  data->encode(text, false, ids);
  if (data->postProcessor.keepsSingle())
    return ids;
  return data->postProcessor.apply(ids, addSpecialTokens).ids;
}

std::vector<int64_t> Tokenizer::encodePlain(std::string_view text) const {
  std::vector<int64_t> ids;
  data->encode(text, true, ids);
  return ids;
}

Encoding Tokenizer::encodeTyped(std::string_view text, bool addSpecialTokens) const {
  std::vector<int64_t> ids;
  data->encode(text, false, ids);
  return data->postProcessor.apply(ids, addSpecialTokens);
}

Encoding Tokenizer::encodePair(std::string_view first, std::string_view second,
                               bool addSpecialTokens) const {
  std::vector<int64_t> firstIds, secondIds;
  data->encode(first, false, firstIds);
  data->encode(second, false, secondIds);
  return data->postProcessor.apply(firstIds, secondIds, addSpecialTokens);
}

std::string Tokenizer::decode(std::span<const int64_t> ids,
                              bool skipSpecialTokens) const {
  DecoderStream stream(data->decoder);
  std::string text;
  for (int64_t id : ids)
    if (token(id) && !(skipSpecialTokens && isSpecial(id)))
      text += stream.push(data->decoded[id]);
  return text += stream.finish();
}

std::string Tokenizer::tokenBytes(int64_t id) const {
  return token(id) ? data->decoder.bytesOf(data->decoded[id]) : "";
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
