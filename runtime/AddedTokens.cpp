//===- AddedTokens.cpp - Tokens recognised before the model runs ----------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/AddedTokens.h"

#include "runtime/JsonFields.h"
#include "runtime/Unicode.h"
#include "runtime/Utf8.h"

#include <unordered_set>

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

AddedTokenMatcher::AddedTokenMatcher(std::vector<Pattern> list) : patterns(std::move(list)) {
  // A longer one would make the work quadratic in its length.
  constexpr size_t longest = 4096;
  std::vector<ByteTrie::Entry> entries;
  std::unordered_set<std::string_view> known;
  for (size_t i = 0; i < patterns.size(); ++i) {
    const std::string &text = patterns[i].text;
    if (text.size() > longest)
      throw Error("the added token {} has {} bytes; at most {} are supported",
                  patterns[i].token.id, text.size(), longest);
    if (!text.empty() && known.insert(text).second)
      entries.emplace_back(text, static_cast<int32_t>(i));
  }
  trie = ByteTrie(std::move(entries));
}

const AddedToken *AddedTokenMatcher::match(std::string_view text, size_t at, size_t &end) const {
  const AddedToken *found = nullptr;
  uint32_t node = ByteTrie::root;
  for (size_t i = at; i < text.size();) {
    node = trie.next(node, static_cast<unsigned char>(text[i]));
    if (node == ByteTrie::none)
      break;
    ++i;
    if (int32_t index = trie.value(node); index >= 0) {
      found = &patterns[index].token;
      end = i;
    }
  }
  return found;
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
    if (unicode::isWord(nextCodePoint(text, before)))
      return false;
  }
  return end == text.size() || !unicode::isWord(nextCodePoint(text, end));
}

void AddedTokenMatcher::split(std::string_view text, bool specialIsText, Sink sink) const {
  size_t done = 0;
  for (size_t at = 0; !patterns.empty() && at < text.size();) {
    size_t end = at;
    const AddedToken *token = match(text, at, end);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at;
    at = end;
    if (token->special && specialIsText)
      continue;
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
