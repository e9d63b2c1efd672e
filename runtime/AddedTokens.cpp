//===- AddedTokens.cpp - Tokens recognised before the model runs ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/AddedTokens.h"

#include "runtime/JsonFields.h"
#include "runtime/Utf8.h"

#include <utf8proc.h>

using namespace mlsys::rt;

AddedToken AddedToken::fromJson(const nlohmann::json &description, int64_t id,
                                std::string_view where) {
  AddedToken token;
  token.id = id;
  token.content = json::string(description, "content", where);
  token.singleWord = json::boolean(description, "single_word", false, where);
  token.lstrip = json::boolean(description, "lstrip", false, where);
  token.rstrip = json::boolean(description, "rstrip", false, where);
  token.special = json::boolean(description, "special", false, where);
  token.normalized =
      json::boolean(description, "normalized", !token.special, where);
  return token;
}

void AddedTokenMatcher::add(std::string_view pattern, const AddedToken &token) {
  if (pattern.empty())
    return;
  isFirst[static_cast<unsigned char>(pattern[0])] = true;
  uint32_t node = 0;
  for (unsigned char byte : pattern) {
    uint64_t key = static_cast<uint64_t>(node) << 8 | byte;
    auto [it, isNew] =
        edges.try_emplace(key, static_cast<uint32_t>(tokenAt.size()));
    if (isNew)
      tokenAt.push_back(-1);
    node = it->second;
  }
  // Of two tokens with one pattern the first wins.
  if (tokenAt[node] >= 0)
    return;
  tokenAt[node] = static_cast<int32_t>(tokens.size());
  tokens.push_back(token);
}

const AddedToken *AddedTokenMatcher::match(std::string_view text, size_t at,
                                           size_t &end) const {
  const AddedToken *found = nullptr;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    auto it = edges.find(static_cast<uint64_t>(node) << 8 |
                         static_cast<unsigned char>(text[i]));
    if (it == edges.end())
      break;
    node = it->second;
    if (tokenAt[node] >= 0) {
      found = &tokens[tokenAt[node]];
      end = i + 1;
    }
  }
  return found;
}

/// True for letters, marks, digits, connectors and joiners.
static bool isWordCharacter(char32_t c) {
  if (c == 0x200C || c == 0x200D)
    return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return false;
  }
}

/// Where the code point that ends at `end` (above 0) begins.
static size_t codePointBefore(std::string_view text, size_t end) {
  do
    --end;
  while (end > 0 && (text[end] & 0xC0) == 0x80);
  return end;
}

static bool standsAlone(std::string_view text, size_t begin, size_t end) {
  if (begin > 0) {
    size_t before = codePointBefore(text, begin);
    if (isWordCharacter(nextCodePoint(text, before)))
      return false;
  }
  return end == text.size() || !isWordCharacter(nextCodePoint(text, end));
}

void AddedTokenMatcher::split(std::string_view text, const Sink &sink) const {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    const AddedToken *token = nullptr;
    if (isFirst[static_cast<unsigned char>(text[at])])
      token = match(text, at, end);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at;
    at = end;
    if (token->singleWord && !standsAlone(text, begin, end))
      continue;
    if (token->lstrip)
      while (begin > done) {
        size_t before = codePointBefore(text, begin), next = before;
        if (!isWhiteSpace(nextCodePoint(text, next)))
          break;
        begin = before;
      }
    if (token->rstrip)
      for (size_t next = end;
           end < text.size() && isWhiteSpace(nextCodePoint(text, next));)
        end = next;
    if (done < begin)
      sink(done, begin, -1);
    sink(begin, end, token->id);
    done = end;
  }
  if (done < text.size())
    sink(done, text.size(), -1);
}
