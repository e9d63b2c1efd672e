//===- TokenizerErrorsTest.cpp - What tokenizers may not say --------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Error.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/Tokenizer.h"

using namespace mlsys::rt;

namespace {

/// A tokenizer of two letters with one more part.
Tokenizer tokenizerWith(const std::string &part) {
  return Tokenizer::fromJson(
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]})" +
      (part.empty() ? "" : "," + part) + "}");
}

TEST(TokenizerErrors, Parts) {
  ASSERT_EQ(tokenizerWith("").encode("ab"), (std::vector<int64_t>{0, 1}));
  struct Case {
    std::string part;
    const char *message;
  };
  std::string nested = R"({"type":"NFC"})";
  for (int i = 0; i < 20; ++i)
    nested = R"({"type":"Sequence","normalizers":[)" + nested + "]}";
  std::string ids = "0";
  for (int i = 0; i < 5000; ++i)
    ids += ",0";
  auto split = [](const std::string &pattern) {
    return R"("pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":")" +
           pattern + R"("}})";
  };
  const Case cases[] = {
      {R"("normalizer":)" + nested, "sequences nest more than 16 deep"},
      {R"("normalizer":{"type":"Upper"})",
       "'Upper' is not supported; supported are NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, "
       "Strip, Replace, Prepend, Nmt, BertNormalizer, ByteLevel, Precompiled and Sequence"},
      {R"("normalizer":{"type":3})", "'type' must be a string but is number"},
      {R"("pre_tokenizer":{"type":"Bert"})",
       "'Bert' is not supported; supported are Split, ByteLevel, Digits, Metaspace, Punctuation, "
       "BertPreTokenizer, Whitespace, WhitespaceSplit, CharDelimiterSplit, UnicodeScripts, "
       "FixedLength and Sequence"},
      {split("(ab)+[a[bc]]"), "nests character classes, which is not supported"},
      {split("(ab)+[a&&b]"), "intersects character classes, which is not supported"},
      {split("(a"), "the pattern '(a' cannot be compiled: "},
      {R"("decoder":{"type":"Join"})",
       "'Join' is not supported; supported are Replace, ByteFallback, Fuse, Strip, ByteLevel, "
       "Metaspace, WordPiece, BPEDecoder, CTC and Sequence"},
      {R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}}],)"
       R"("special_tokens":{"a":{"ids":[)" +
           ids + "]}}}",
       "the template has more than 4096 tokens"},
  };
  for (const Case &test : cases)
    EXPECT_ERROR(tokenizerWith(test.part), test.message);
  EXPECT_ERROR(Tokenizer::fromJson("{"), "tokenizer.json is not JSON: ");
  // Patterns that fail on a text only.
  EXPECT_ERROR(tokenizerWith(split("(a+)+$|x")).encode(std::string(60, 'a') + "b"),
               "fails on this text: ");
  // What is matched may not begin after it ends.
  EXPECT_ERROR(tokenizerWith(split("(?=ab\\\\K)")).encode("aab"), "the pattern '(?=ab\\K)'");
}

TEST(TokenizerErrors, GgufText) {
  GgufVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "default";
  vocabulary.tokens = {"a", "b"};
  vocabulary.merges = {"a b\xff"};
  EXPECT_ERROR(tokenizerJsonFromGguf(vocabulary), "tokenizer.ggml.merges: merge 0 is not UTF-8");
}

} // namespace
