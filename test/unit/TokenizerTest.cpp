//===- TokenizerTest.cpp - Tests of Tokenizer -----------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/Tokenizer.h"
#include "runtime/Error.h"
#include "runtime/Regex.h"
#include "runtime/Utf8.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

using namespace mlsys::rt;
using Json = nlohmann::json;
using Ids = std::vector<int64_t>;

static std::string readFile(const std::string &path) {
  std::ifstream file(std::string(MLSYS_TEST_DATA "/") + path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

static const Tokenizer &smollm2() {
  static const Tokenizer tokenizer =
      Tokenizer::fromJson(readFile("tokenizers/smollm2/tokenizer.json"));
  return tokenizer;
}

/// A tokenizer.json whose model has the single letters a to e, the space, some
/// merges, and what `changes` says on top (as a JSON merge patch).
static Json smallJson(const Json &changes = Json::object()) {
  Json root = Json::parse(R"({
    "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
    "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "unk_token": "<unk>", "merges": ["a b", ["ab", "c"], "d e"],
      "vocab": {"<unk>": 0, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, " ": 6, "ab": 7,
                "abc": 8, "de": 9, "1": 10, "2": 11, "\u2581": 12, "\u00e9": 13}}})");
  root.merge_patch(changes);
  return root;
}

static Tokenizer small(const Json &changes = Json::object()) {
  return Tokenizer::fromJson(smallJson(changes).dump());
}

static std::string failureOfText(const std::string &text) {
  try {
    Tokenizer::fromJson(text);
  } catch (const Error &error) {
    return error.what();
  }
  return "no error";
}

static std::string failure(const Json &changes) {
  return failureOfText(smallJson(changes).dump());
}

/// The tokens of `text`, joined by bars.
static std::string tokens(const Tokenizer &tokenizer, std::string_view text) {
  std::string joined;
  for (int64_t id : tokenizer.encode(text))
    joined.append(joined.empty() ? "" : "|")
        .append(tokenizer.token(id).value());
  return joined;
}

//===----------------------------------------------------------------------===//
// Real tokenizers
//===----------------------------------------------------------------------===//

TEST(TokenizerTest, matchesHuggingFaceOnSmolLM2) {
  Json cases = Json::parse(readFile("tokenizers/smollm2/cases.json"));
  ASSERT_EQ(cases["cases"].size(), 32u);
  EXPECT_EQ(smollm2().vocabSize(), cases["vocab"].get<int64_t>());
  for (const Json &entry : cases["cases"]) {
    std::string text = entry["text"];
    Ids ids = smollm2().encode(text);
    EXPECT_EQ(ids, entry["ids"].get<Ids>()) << text;
    EXPECT_EQ(smollm2().decode(ids, false), text);
  }
}

TEST(TokenizerTest, matchesHuggingFaceOnTheTestModels) {
  for (const char *name : {"llama", "llama_tied_gqa1", "llama3_rope",
                           "llama_sharded_bf16", "stories260K"}) {
    std::string folder = std::string("models/") + name + "/";
    Tokenizer tokenizer =
        Tokenizer::fromJson(readFile(folder + "tokenizer.json"),
                            readFile(folder + "tokenizer_config.json"));
    Json expected = Json::parse(readFile(folder + "expected.json"));
    ASSERT_FALSE(expected["encode_cases"].empty()) << name;
    for (const auto &[text, ids] : expected["encode_cases"].items())
      EXPECT_EQ(tokenizer.encode(text), ids.get<Ids>()) << name << ": " << text;
    if (expected.contains("decode_cases"))
      for (const auto &[text, decoded] : expected["decode_cases"].items())
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(text), true),
                  decoded.get<std::string>())
            << name << ": " << text;
  }
}

TEST(TokenizerTest, readsTheConfig) {
  Tokenizer tokenizer =
      Tokenizer::fromJson(readFile("models/llama/tokenizer.json"),
                          readFile("models/llama/tokenizer_config.json"));
  EXPECT_EQ(tokenizer.bosToken(), "<s>");
  EXPECT_EQ(tokenizer.eosToken(), "</s>");
  EXPECT_EQ(tokenizer.chatTemplate(), "");
  EXPECT_EQ(tokenizer.tokenId("</s>"), 2);
  EXPECT_EQ(tokenizer.tokenId("no such token"), std::nullopt);
  EXPECT_TRUE(tokenizer.isSpecial(2));
  EXPECT_FALSE(tokenizer.isSpecial(351));
  EXPECT_FALSE(tokenizer.isSpecial(-1));
  EXPECT_FALSE(tokenizer.isSpecial(1 << 20));
}

TEST(TokenizerTest, findsTokensOfTheConfig) {
  Tokenizer tokenizer = Tokenizer::fromJson(
      smallJson().dump(),
      R"({"added_tokens_decoder": {"20": {"content": "<x>", "special": true}},
          "bos_token": {"content": "<x>"},
          "chat_template": [{"name": "tool_use", "template": "t"},
                            {"name": "default", "template": "d"}]})");
  EXPECT_EQ(tokenizer.encode("a<x>b"), (Ids{1, 20, 2}));
  EXPECT_EQ(tokenizer.bosToken(), "<x>");
  EXPECT_EQ(tokenizer.chatTemplate(), "d");
}

TEST(TokenizerTest, addsSpecialTokensOnRequest) {
  Tokenizer tokenizer =
      Tokenizer::fromJson(readFile("models/llama/tokenizer.json"));
  Ids with = tokenizer.encode("Hello world"), without = with;
  without.erase(without.begin());
  EXPECT_EQ(with[0], 1);
  EXPECT_EQ(tokenizer.encode("Hello world", false), without);
}

TEST(TokenizerTest, takesSpecialTokensAsTextOnRequest) {
  Json added = Json::array({{{"id", 20}, {"content", "de"}, {"special", true}},
                            {{"id", 21}, {"content", "bc"}, {"special", false}}});
  Tokenizer tokenizer = small({{"added_tokens", added}});
  EXPECT_EQ(tokenizer.encode("adebc"), (Ids{1, 9, 21}));
  EXPECT_EQ(tokenizer.encodePlain("adebc"), (Ids{1, 9, 21}));
  tokenizer = small({{"added_tokens", {{{"id", 20}, {"content", "dx"}, {"special", true}}}}});
  EXPECT_EQ(tokenizer.encode("adx"), (Ids{1, 20}));
  EXPECT_EQ(tokenizer.encodePlain("adx"), (Ids{1, 4, 0}));
}

//===----------------------------------------------------------------------===//
// The model
//===----------------------------------------------------------------------===//

TEST(TokenizerTest, mergesByRankLeftmostFirst) {
  EXPECT_EQ(tokens(small(), "abcde"), "abc|de");
  Json model = {{"vocab", {{"aa", 14}, {"aaa", 15}}},
                {"merges", {"a a", "aa a"}}};
  EXPECT_EQ(tokens(small({{"model", model}}), "aaa"), "aaa");
  EXPECT_EQ(tokens(small({{"model", model}}), "aaaa"), "aa|aa");
}

TEST(TokenizerTest, longWordsMergeAsShortOnes) {
  // The array and the heap must agree: x keeps the pieces apart.
  std::string unit = "abcdedab", many, expected;
  for (int i = 0; i < 100; ++i) {
    many += unit;
    expected += i == 0 ? "" : "|";
    expected += "abc|de|d|ab";
  }
  EXPECT_EQ(tokens(small(), unit), "abc|de|d|ab");
  EXPECT_EQ(tokens(small(), many), expected);
}

TEST(TokenizerTest, unknownCharactersFuseOnRequest) {
  EXPECT_EQ(small().encode("axyb"), (Ids{1, 0, 0, 2}));
  EXPECT_EQ(small({{"model", {{"fuse_unk", true}}}}).encode("axyb"),
            (Ids{1, 0, 2}));
  EXPECT_EQ(small({{"model", {{"unk_token", nullptr}}}}).encode("axyb"),
            (Ids{7}));
}

TEST(TokenizerTest, longRunsOfUnknownCharactersFuse) {
  std::string text = "a" + std::string(50, 'x') + "b";
  EXPECT_EQ(small({{"model", {{"fuse_unk", true}}}}).encode(text),
            (Ids{1, 0, 2}));
}

TEST(TokenizerTest, bytesStandInForUnknownCharacters) {
  Json vocabulary = {{"<0xC3>", 20}, {"<0xA8>", 21}};
  Json model = {{"byte_fallback", true}, {"vocab", vocabulary}};
  Tokenizer tokenizer = small({{"model", model}});
  EXPECT_EQ(tokenizer.encode("a\u00e8"), (Ids{1, 20, 21}));
  // Not all bytes of U+00E7 are there, so it is unknown as a whole.
  EXPECT_EQ(tokenizer.encode("a\u00e7"), (Ids{1, 0}));
}

TEST(TokenizerTest, wholeWordsSkipMergesOnRequest) {
  Json vocabulary = {{"bca", 20}};
  EXPECT_EQ(tokens(small({{"model", {{"vocab", vocabulary}}}}), "bca"),
            "b|c|a");
  EXPECT_EQ(tokens(small({{"model",
                           {{"vocab", vocabulary}, {"ignore_merges", true}}}}),
                   "bca"),
            "bca");
}

TEST(TokenizerTest, prefixesAndSuffixesMarkPositions) {
  Json vocabulary = {
      {"##b", 20}, {"##c</w>", 21}, {"a##b", 22}, {"ab##c</w>", 23}};
  Json model = {{"vocab", vocabulary},
                {"continuing_subword_prefix", "##"},
                {"end_of_word_suffix", "</w>"},
                {"merges", {"a ##b"}}};
  EXPECT_EQ(tokens(small({{"model", model}}), "abc"), "ab|##c</w>");
}

//===----------------------------------------------------------------------===//
// Text before the model
//===----------------------------------------------------------------------===//

TEST(TokenizerTest, normalizes) {
  auto with = [](Json normalizer) {
    return small({{"normalizer", normalizer}});
  };
  EXPECT_EQ(with({{"type", "NFC"}}).encode("e\u0301"), (Ids{13}));
  EXPECT_EQ(with({{"type", "NFD"}}).encode("\u00e9"), (Ids{5, 0}));
  EXPECT_EQ(with({{"type", "NFKC"}}).encode("\u2460"), (Ids{10}));
  EXPECT_EQ(with({{"type", "NFKD"}}).encode("\u24d0\u00e9"), (Ids{1, 5, 0}));
  EXPECT_EQ(with({{"type", "Replace"},
                  {"pattern", {{"Regex", "c+"}}},
                  {"content", "d"}})
                .encode("acccec"),
            (Ids{1, 9, 4}));
  Json sequence = {{"type", "Sequence"},
                   {"normalizers",
                    {{{"type", "Prepend"}, {"prepend", "\u2581"}},
                     {{"type", "Replace"},
                      {"pattern", {{"String", " "}}},
                      {"content", "\u2581"}}}}};
  EXPECT_EQ(with(sequence).encode("a b"), (Ids{12, 1, 12, 2}));
  EXPECT_EQ(with(sequence).encode(""), Ids{});
}

/// What a pre-tokenizer makes of `text`, with each word one token.
static std::string words(const Json &preTokenizer, const std::string &text,
                         const std::vector<std::string> &vocabulary) {
  Json model = {{"ignore_merges", true}, {"vocab", Json::object()}};
  for (const std::string &word : vocabulary)
    model["vocab"][word] = 20 + model["vocab"].size();
  return tokens(small({{"pre_tokenizer", preTokenizer}, {"model", model}}),
                text);
}

TEST(TokenizerTest, splitsWithEachBehavior) {
  auto split = [](const char *behavior, bool invert) {
    Json step = {{"type", "Split"},
                 {"pattern", {{"Regex", "b"}}},
                 {"behavior", behavior},
                 {"invert", invert}};
    return words(step, "acbbcab",
                 {"ac", "ca", "acb", "bb", "bca", "cab", "acbb", "bcab"});
  };
  EXPECT_EQ(split("Removed", false), "ac|ca");
  EXPECT_EQ(split("Removed", true), "b|b|b");
  EXPECT_EQ(split("Isolated", false), "ac|b|b|ca|b");
  EXPECT_EQ(split("MergedWithPrevious", false), "acb|b|cab");
  EXPECT_EQ(split("MergedWithNext", false), "ac|b|bca|b");
  EXPECT_EQ(split("Contiguous", false), "ac|bb|ca|b");
  EXPECT_EQ(split("MergedWithNext", true), "acb|b|cab");
}

TEST(TokenizerTest, splitsDigits) {
  auto digits = [](bool individual) {
    Json step = {{"type", "Digits"}, {"individual_digits", individual}};
    return words(step, "ab12c", {"ab", "12", "ab12c"});
  };
  EXPECT_EQ(digits(true), "ab|1|2|c");
  EXPECT_EQ(digits(false), "ab|12|c");
}

TEST(TokenizerTest, marksSpaces) {
  auto metaspace = [](const std::string &changes, const std::string &text) {
    Json step = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
    step.update(Json::parse(changes));
    Json added =
        Json::array({{{"id", 50}, {"content", "<x>"}, {"special", true}}});
    Json model = {
        {"ignore_merges", true},
        {"vocab", {{"\u2581a", 20}, {"\u2581b", 21}, {"\u2581a\u2581b", 22}}}};
    return tokens(small({{"pre_tokenizer", step},
                         {"model", model},
                         {"added_tokens", added}}),
                  text);
  };
  EXPECT_EQ(metaspace("{}", "a b"), "\u2581a|\u2581b");
  EXPECT_EQ(metaspace(R"({"split": false})", "a b"), "\u2581a\u2581b");
  EXPECT_EQ(metaspace(R"({"prepend_scheme": "never"})", "a b"), "a|\u2581b");
  EXPECT_EQ(metaspace(R"({"add_prefix_space": false})", "a b"), "a|\u2581b");
  EXPECT_EQ(metaspace(R"({"prepend_scheme": "first"})", "a<x>b"),
            "\u2581a|<x>|b");
  EXPECT_EQ(metaspace(R"({"prepend_scheme": "always"})", "a<x>b"),
            "\u2581a|<x>|\u2581b");
}

TEST(TokenizerTest, stepsMayFollowByteLevel) {
  Json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}};
  Json split = {{"type", "Split"},
                {"pattern", {{"String", "\u0120"}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  Json both = {{"type", "Sequence"}, {"pretokenizers", {bytes, split}}};
  EXPECT_EQ(words(bytes, "a b", {"\u0120a\u0120b", "\u0120"}),
            "\u0120a\u0120b");
  EXPECT_EQ(words(both, "a b", {"\u0120a\u0120b", "\u0120"}),
            "\u0120|a|\u0120|b");
}

TEST(TokenizerTest, addedTokensTakeSpaceOrNeedWordBounds) {
  auto with = [](const std::string &text) {
    Json flags = Json::parse(text);
    Json token = {{"id", 20}, {"content", "de"}, {"special", false}};
    token.update(flags);
    token["normalized"] = flags.value("normalized", false);
    return small({{"added_tokens", Json::array({token})},
                  {"normalizer", {{"type", "NFKC"}}}});
  };
  EXPECT_EQ(with("{}").encode("a de b"), (Ids{1, 6, 9, 6, 2}));
  EXPECT_EQ(with(R"({"lstrip": true})").encode("a  de b"), (Ids{1, 9, 6, 2}));
  EXPECT_EQ(with(R"({"rstrip": true})").encode("a de  b"), (Ids{1, 6, 9, 2}));
  std::string alone = R"({"content": "<x>", "single_word": true})";
  EXPECT_EQ(with(alone).encode("a<x> <x>"), (Ids{1, 0, 0, 0, 6, 20}));
  EXPECT_EQ(with(alone).encode("<x>1"), (Ids{0, 0, 0, 10}));
  // U+FF45 is a full-width e: an e only once it is normalized.
  EXPECT_EQ(with(R"({"content": "1e", "normalized": true})").encode("1\uff45"),
            (Ids{20}));
  EXPECT_EQ(with(R"({"content": "1e"})").encode("1\uff45"), (Ids{10, 5}));
}

TEST(TokenizerTest, longestAddedTokenWins) {
  Json added =
      Json::array({{{"id", 20}, {"content", "<a"}, {"special", true}},
                   {{"id", 21}, {"content", "<a>"}, {"special", true}}});
  EXPECT_EQ(small({{"added_tokens", added}}).encode("<a><ab"),
            (Ids{21, 20, 2}));
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

TEST(TokenizerTest, decodesWithoutUnknownIdsAndSpecialTokens) {
  EXPECT_EQ(smollm2().decode(Ids{1, 19556, 1 << 20, -5, 2}, false),
            "<|im_start|>Hello<|im_end|>");
  EXPECT_EQ(smollm2().decode(Ids{1, 19556, 1 << 20, -5, 2}, true), "Hello");
  EXPECT_EQ(smollm2().decode(Ids{}, true), "");
}

TEST(TokenizerTest, givesTheBytesOfTokens) {
  // U+1F600 in byte-level tokens: the first has two of its four bytes.
  std::string bytes;
  for (int64_t id : smollm2().encode("\U0001F600"))
    bytes += smollm2().tokenBytes(id);
  EXPECT_EQ(bytes, "\U0001F600");
  EXPECT_EQ(smollm2().tokenBytes(-1), "");
  Tokenizer llama =
      Tokenizer::fromJson(readFile("models/llama/tokenizer.json"));
  EXPECT_EQ(llama.tokenBytes(*llama.tokenId("<0xF0>")), "\xF0");
  EXPECT_EQ(llama.tokenBytes(*llama.tokenId("\u2581t")), " t");
}

TEST(TokenizerTest, decoderStepsDoAsTheySay) {
  auto decode = [](Json decoder, const std::string &text) {
    Tokenizer tokenizer = small({{"decoder", decoder}});
    return tokenizer.decode(tokenizer.encode(text), false);
  };
  EXPECT_EQ(decode(nullptr, "abcde"), "abc de");
  EXPECT_EQ(decode({{"type", "Fuse"}}, "abcde"), "abcde");
  EXPECT_EQ(
      decode({{"type", "Strip"}, {"content", "a"}, {"start", 1}, {"stop", 0}},
             "aba"),
      "b");
  EXPECT_EQ(decode({{"type", "Sequence"},
                    {"decoders",
                     {{{"type", "Fuse"}},
                      {{"type", "Strip"},
                       {"content", "a"},
                       {"start", 1},
                       {"stop", 2}}}}},
                   "aabacaaa"),
            "abaca");
  EXPECT_EQ(decode({{"type", "Replace"},
                    {"pattern", {{"String", "bc"}}},
                    {"content", "-"}},
                   "abcde"),
            "a-de");
  EXPECT_EQ(decode({{"type", "Metaspace"}, {"replacement", "\u2581"}},
                   "\u2581a\u2581b"),
            "a b");
  EXPECT_EQ(decode({{"type", "Metaspace"},
                    {"replacement", "\u2581"},
                    {"prepend_scheme", "never"}},
                   "\u2581a"),
            " a");
}

//===----------------------------------------------------------------------===//
// Bad input
//===----------------------------------------------------------------------===//

TEST(TokenizerTest, repairsInvalidUtf8) {
  EXPECT_TRUE(isValidUtf8("a\u00e9\u4f60\U0001F600"));
  for (const char *bad : {"\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF5\x80\x80\x80", "\xF0\x9F\x98", "a\xE4\xBD"})
    EXPECT_FALSE(isValidUtf8(bad)) << bad;
  EXPECT_EQ(repairUtf8("a\xFF\x62"), "a\uFFFDb");
  EXPECT_EQ(repairUtf8("\xE4\xBD-"), "\uFFFD-");
  EXPECT_EQ(repairUtf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(repairUtf8("\xF0\x9F\x98"), "\uFFFD");
  EXPECT_EQ(smollm2().encode("a\xFF"), smollm2().encode("a\uFFFD"));
}

TEST(TokenizerTest, namesWhatIsNotSupported) {
  auto has = [](const std::string &message, const char *part,
                const char *list) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find(list), std::string::npos) << message;
  };
  Json strange = {{"type", "Strange"}};
  has(failure(Json{{"model", strange}}), "'Strange'", "supported are BPE, Unigram");
  has(failure(Json{{"normalizer", strange}}), "'Strange'", "supported are NFC");
  has(failure(Json{{"pre_tokenizer", strange}}), "'Strange'", "supported are Split");
  has(failure(Json{{"decoder", strange}}), "'Strange'", "supported are Replace");
  has(failure(Json{{"post_processor", strange}}), "'Strange'",
      "supported are TemplateProcessing");
}

TEST(TokenizerTest, refusesBrokenFiles) {
  auto has = [](const std::string &message, const char *part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  has(failureOfText("{"), "tokenizer.json is not JSON");
  has(failureOfText("[]"), "must be an object but is array");
  has(failureOfText("{}"), "has no model");
  has(failure(Json{{"model", {{"vocab", {{"a", -1}}}}}}), "found -1");
  has(failure(Json{{"model", {{"vocab", {{"a", 1e18}}}}}}),
      "expected an integer");
  has(failure(Json{{"model", {{"vocab", {{"a", 16000000}}}}}}),
      "the largest id is 16000000");
  has(failure(Json{{"model", {{"vocab", nullptr}}}}),
      "'vocab' must be an object");
  has(failure(Json{{"model", {{"merges", {"a b c"}}}}}),
      "merge 0 must be two tokens");
  has(failure(Json{{"model", {{"merges", {1}}}}}),
      "neither a string nor a pair");
  has(failure(Json{{"model", {{"merges", {"a c"}}}}}), "needs the token 'ac'");
  has(failure(Json{{"model", {{"merges", 5}}}}), "'merges' must be a list");
  has(failure(Json{{"model", {{"unk_token", "none"}}}}),
      "lacks the unk_token 'none'");
  has(failure(Json{{"model", {{"fuse_unk", 3}}}}),
      "'fuse_unk' must be true or false");
  Json split = {{"type", "Split"},
                {"pattern", {{"Regex", "(a"}}},
                {"behavior", "Isolated"}};
  has(failure(Json{{"pre_tokenizer", split}}), "cannot be compiled");
  split["pattern"] = {{"String", "a"}};
  split["behavior"] = "Sideways";
  has(failure(Json{{"pre_tokenizer", split}}), "'Sideways'");
  Json added = Json::array(
      {{{"id", 1}, {"content", "<x>"}}, {{"id", 1}, {"content", "<y>"}}});
  has(failure(Json{{"added_tokens", added}}), "have the same id 1");
  Json piece = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  has(failure(Json{{"post_processor",
                    {{"type", "TemplateProcessing"},
                     {"single", Json::array({piece})}}}}),
      "'<s>' is not among the special_tokens");
}

TEST(TokenizerTest, patternsKeepTheirMeaning) {
  EXPECT_EQ(translateOniguruma(R"((?m:.)\h[\h])"),
            "(?s:.)[0-9a-fA-F][0-9a-fA-F]");
  EXPECT_EQ(translateOniguruma(R"((?!\S)(?<=a)(?:b)\\s)"),
            translateOniguruma(R"((?!\S))") + R"((?<=a)(?:b)\\s)");
  auto matches = [](const char *pattern, const std::string &text) {
    Regex regex(pattern);
    Regex::Matches all(regex, text);
    size_t begin, end;
    std::string found;
    while (all.next(begin, end))
      found.append("<").append(text, begin, end - begin).append(">");
    return found;
  };
  EXPECT_EQ(matches(R"(\s+)", "a\u3000\u0085b\u200bc"), "<\u3000\u0085>");
  EXPECT_EQ(matches(R"([^\s]+)", "a\u3000\u00e9"), "<a><\u00e9>");
  EXPECT_EQ(matches(R"(^b)", "a\nb"), "<b>");
  EXPECT_EQ(matches(R"(b*)", "abba"), "<><bb><>");
}

TEST(TokenizerTest, endlessBacktrackingIsAnError) {
  Regex regex("(a+)+$");
  std::string text(60, 'a');
  text += 'b';
  Regex::Matches matches(regex, text);
  size_t begin, end;
  EXPECT_THROW(matches.next(begin, end), Error);
}
