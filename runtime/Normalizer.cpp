//===- Normalizer.cpp - Normalizers of tokenizer.json ---------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Normalizer.h"

#include "runtime/JsonFields.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

using namespace mlsys::rt;

Replacement Replacement::fromJson(const nlohmann::json &description,
                                  std::string_view where) {
  Replacement result;
  const json::Json &pattern = json::member(description, "pattern");
  if (json::member(pattern, "Regex").is_string())
    result.regex.emplace(json::string(pattern, "Regex", where));
  else
    result.literal = json::string(pattern, "String", where);
  if (!result.regex && result.literal.empty())
    throw Error("{}: the pattern is empty", where);
  result.content = json::string(description, "content", where);
  return result;
}

std::string Replacement::apply(std::string_view text) const {
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  if (regex) {
    Regex::Matches matches(*regex, text);
    size_t begin, end;
    while (matches.next(begin, end)) {
      out.append(text.substr(done, begin - done)).append(content);
      done = end;
    }
  } else {
    for (size_t at; (at = text.find(literal, done)) != std::string_view::npos;
         done = at + literal.size())
      out.append(text.substr(done, at - done)).append(content);
  }
  return out.append(text.substr(done));
}

/// The Unicode normalization form of `text`.
static std::string toNormalForm(const std::string &text, int options) {
  // ASCII is its own normal form.
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return text;
  utf8proc_uint8_t *mapped = nullptr;
  utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t *>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(options));
  std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped,
                                                                &std::free);
  if (length < 0)
    throw Error("the text cannot be normalized: {}", utf8proc_errmsg(length));
  return {reinterpret_cast<const char *>(mapped), static_cast<size_t>(length)};
}

void Normalizer::add(const nlohmann::json &description, int depth) {
  const char *where = "tokenizer.json, normalizer";
  const std::string &type = json::string(description, "type", where);
  auto unicode = [&](int options) {
    steps.push_back({Kind::Unicode, {}, {}, UTF8PROC_STABLE | options});
  };
  if (type == "Sequence") {
    if (depth > 16)
      throw Error("{}: sequences nest more than 16 deep", where);
    for (const json::Json &child :
         json::list(description, "normalizers", where))
      add(child, depth + 1);
  } else if (type == "Prepend") {
    steps.push_back(
        {Kind::Prepend, json::string(description, "prepend", where), {}});
  } else if (type == "Replace") {
    steps.push_back(
        {Kind::Replace, {}, Replacement::fromJson(description, where)});
  } else if (type == "NFC") {
    unicode(UTF8PROC_COMPOSE);
  } else if (type == "NFD") {
    unicode(UTF8PROC_DECOMPOSE);
  } else if (type == "NFKC") {
    unicode(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  } else if (type == "NFKD") {
    unicode(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  } else {
    throw Error(
        "{} '{}' is not supported; supported are Prepend, Replace, NFC, NFD, "
        "NFKC, NFKD and Sequence",
        where, type);
  }
}

Normalizer Normalizer::fromJson(const nlohmann::json &description) {
  Normalizer result;
  if (!description.is_null())
    result.add(description, 0);
  return result;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string result(text);
  for (const Step &step : steps) {
    switch (step.kind) {
    case Kind::Prepend:
      if (!result.empty())
        result.insert(0, step.prefix);
      break;
    case Kind::Replace:
      result = step.replacement.apply(result);
      break;
    case Kind::Unicode:
      result = toNormalForm(result, step.unicodeOptions);
      break;
    }
  }
  return result;
}
