//===- TokenizeCommand.cpp - Text to ids and back ---------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Tokenizer.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
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

/// The JSON list that a batch is.
static nlohmann::json parseBatch(const std::string &input, const char *items) {
  nlohmann::json batch = nlohmann::json::parse(input, nullptr, false);
  if (!batch.is_array())
    throw Error("--batch: expected a JSON list of {}", items);
  return batch;
}

namespace {
/// Says how long something took.
class Stopwatch {
public:
  void log(std::ostream &out, size_t bytes) const {
    double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double cpuSeconds = static_cast<double>(std::clock() - cpuStart) / CLOCKS_PER_SEC;
    out << fmt::format("{} bytes of text in {:.6f} s, {:.6f} s of CPU time: {:.2f} MB/s\n", bytes,
                       seconds, cpuSeconds,
                       static_cast<double>(bytes) / 1e6 / std::max(seconds, 1e-9));
  }

private:
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::clock_t cpuStart = std::clock();
};
} // namespace

/// Writes what `count` calls of `write` append, a line each, as a JSON list.
template <typename Write> static void writeList(std::ostream &out, size_t count, Write write) {
  out << "[";
  fmt::memory_buffer line;
  for (size_t i = 0; i < count; ++i) {
    line.clear();
    write(i, line);
    out << (i == 0 ? "\n" : ",\n") << std::string_view(line.data(), line.size());
  }
  out << "\n]\n";
}

static void appendIds(fmt::memory_buffer &line, const Encoding &encoding, bool typeIds) {
  if (typeIds)
    fmt::format_to(std::back_inserter(line), "{{\"ids\":[{}],\"type_ids\":[{}]}}",
                   fmt::join(encoding.ids, ","), fmt::join(encoding.typeIds, ","));
  else
    fmt::format_to(std::back_inserter(line), "[{}]", fmt::join(encoding.ids, ","));
}

static int tokenizeBatch(const Tokenizer &tokenizer, const std::string &input,
                         const TokenizeRequest &request, Streams streams) {
  struct Texts {
    std::string first;
    std::optional<std::string> second;
  };
  std::vector<Texts> batch;
  size_t bytes = 0;
  for (nlohmann::json &item : parseBatch(input, "texts")) {
    bool isPair = item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string();
    if (!item.is_string() && !isPair)
      throw Error("--batch: item {} is neither a text nor a pair of texts", batch.size());
    if (isPair)
      batch.push_back({item[0].get<std::string>(), item[1].get<std::string>()});
    else
      batch.push_back({item.get<std::string>(), std::nullopt});
    bytes += batch.back().first.size() + batch.back().second.value_or("").size();
  }
  std::vector<Encoding> encodings;
  encodings.reserve(batch.size());
  Stopwatch watch;
  for (const Texts &texts : batch) {
    if (request.plain && texts.second)
      throw Error("--plain: pairs of texts are not supported");
    if (request.plain)
      encodings.push_back({tokenizer.encodePlain(texts.first), {}});
    else if (texts.second)
      encodings.push_back(tokenizer.encodePair(texts.first, *texts.second, request.special));
    else if (request.typeIds)
      encodings.push_back(tokenizer.encodeTyped(texts.first, request.special));
    else
      encodings.push_back({tokenizer.encode(texts.first, request.special), {}});
  }
  if (request.timing)
    watch.log(streams.log, bytes);
  writeList(streams.out, encodings.size(), [&](size_t i, fmt::memory_buffer &line) {
    appendIds(line, encodings[i], request.typeIds);
  });
  return 0;
}

int rt::runTokenize(const TextMaterial &material, const std::string &input,
                    const TokenizeRequest &request, Streams streams) {
  Tokenizer tokenizer = openTokenizer(material);
  if (request.batch)
    return tokenizeBatch(tokenizer, input, request, streams);
  if (!isValidUtf8(input))
    streams.log << "warning: the text is not valid UTF-8; wrong bytes become U+FFFD\n";
  Stopwatch watch;
  Encoding encoding = request.plain ? Encoding{tokenizer.encodePlain(input), {}}
                                    : tokenizer.encodeTyped(input, request.special);
  if (request.timing)
    watch.log(streams.log, input.size());
  if (request.json) {
    nlohmann::json object = {{"ids", encoding.ids}};
    if (request.typeIds)
      object["type_ids"] = encoding.typeIds;
    streams.out << object.dump() << "\n";
  } else {
    streams.out << fmt::format("{}\n", fmt::join(encoding.ids, " "));
  }
  return 0;
}

static void checkIds(const std::vector<int64_t> &ids, const Tokenizer &tokenizer) {
  for (int64_t id : ids)
    if (id < 0 || id >= tokenizer.vocabSize())
      throw Error("token id {} is not in the vocabulary of {}", id, tokenizer.vocabSize());
}

static int detokenizeBatch(const Tokenizer &tokenizer, const std::string &input,
                           const TokenizeRequest &request, Streams streams) {
  std::vector<std::vector<int64_t>> batch;
  for (const nlohmann::json &item : parseBatch(input, "lists of ids")) {
    bool isIds = item.is_array() && std::all_of(item.begin(), item.end(), [](const auto &id) {
                   return id.is_number_integer();
                 });
    if (!isIds)
      throw Error("--batch: item {} is no list of ids", batch.size());
    batch.push_back(item.get<std::vector<int64_t>>());
    checkIds(batch.back(), tokenizer);
  }
  std::vector<std::string> texts;
  size_t bytes = 0;
  Stopwatch watch;
  for (const std::vector<int64_t> &ids : batch) {
    texts.push_back(tokenizer.decode(ids, /*skipSpecialTokens=*/!request.special));
    bytes += texts.back().size();
  }
  if (request.timing)
    watch.log(streams.log, bytes);
  writeList(streams.out, texts.size(), [&](size_t i, fmt::memory_buffer &line) {
    line.append(nlohmann::json(texts[i]).dump());
  });
  return 0;
}

int rt::runDetokenize(const TextMaterial &material, const std::string &input,
                      const TokenizeRequest &request, Streams streams) {
  Tokenizer tokenizer = openTokenizer(material);
  if (request.batch)
    return detokenizeBatch(tokenizer, input, request, streams);
  std::vector<int64_t> ids = parseIds(input);
  checkIds(ids, tokenizer);
  Stopwatch watch;
  std::string text = tokenizer.decode(ids, /*skipSpecialTokens=*/!request.special);
  if (request.timing)
    watch.log(streams.log, text.size());
  if (request.json)
    streams.out << nlohmann::json{{"text", text}}.dump() << "\n";
  else
    streams.out << text;
  return 0;
}
