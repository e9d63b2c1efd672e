//===- Normalizer.cpp - Normalizers of tokenizer.json ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Normalizer.h"

#include "runtime/JsonFields.h"
#include "runtime/NormalizerSteps.h"
#include "runtime/Utf8.h"

using namespace mlsys::rt;

NormalizerStep::~NormalizerStep() = default;

//===----------------------------------------------------------------------===//
// Replacement
//===----------------------------------------------------------------------===//

Replacement Replacement::fromJson(const nlohmann::json &description,
                                  std::string_view where) {
  Replacement result;
  const json::Json &pattern = json::member(description, "pattern");
  if (json::member(pattern, "Regex").is_string())
    result.regex.emplace(json::string(pattern, "Regex", where));
  else if (const std::string &literal = json::string(pattern, "String", where); literal.empty())
    result.regex.emplace(""); // It matches between any two characters.
  else
    result.literal = literal;
  result.content = json::string(description, "content", where);
  return result;
}

bool Replacement::apply(std::string_view text, std::string &out, bool &atStart) const {
  size_t done = 0;
  bool found = false;
  // A short text may not become all of memory.
  const size_t most = out.size() + text.size() * 256 + (size_t(1) << 20);
  auto replace = [&](size_t begin, size_t end) {
    if (!found)
      out.reserve(out.size() + text.size() + text.size() / 8);
    found = true;
    out.append(text.substr(done, begin - done));
    // The content counts as made from the last character of the match.
    if (begin == 0 && end > 0 && (content.empty() || end > codePointLength(text[0])))
      atStart = false;
    out.append(content);
    if (out.size() > most)
      throw Error("a replacement makes the text too long");
    done = end;
  };
  if (regex) {
    // An empty text is left alone.
    if (text.empty())
      return false;
    Regex::Matches matches(*regex, text);
    size_t begin, end;
    while (matches.next(begin, end))
      replace(begin, end);
  } else {
    for (size_t at; (at = text.find(literal, done)) != std::string_view::npos;)
      replace(at, at + literal.size());
  }
  if (found)
    out.append(text.substr(done));
  return found;
}

std::string Replacement::apply(std::string_view text) const {
  std::string out;
  bool atStart = true;
  return apply(text, out, atStart) ? out : std::string(text);
}

//===----------------------------------------------------------------------===//
// Normalizer
//===----------------------------------------------------------------------===//

void Normalizer::add(const nlohmann::json &description, int depth) {
  const char *where = "tokenizer.json, normalizer";
  if (json::string(description, "type", where) != "Sequence") {
    steps.push_back(makeNormalizerStep(description));
    return;
  }
  if (depth > 16)
    throw Error("{}: sequences nest more than 16 deep", where);
  for (const json::Json &child : json::list(description, "normalizers", where))
    add(child, depth + 1);
}

Normalizer Normalizer::fromJson(const nlohmann::json &description) {
  Normalizer result;
  if (!description.is_null())
    result.add(description, 0);
  return result;
}

std::string_view Normalizer::apply(std::string_view text, Buffers &buffers, bool &atStart) const {
  int target = 0;
  for (const auto &step : steps) {
    std::string &out = buffers.texts[target];
    out.clear();
    if (!step->apply(text, out, atStart))
      continue;
    text = out;
    target = 1 - target;
  }
  return text;
}

std::string Normalizer::apply(std::string_view text) const {
  Buffers buffers;
  bool atStart = true;
  return std::string(apply(text, buffers, atStart));
}
