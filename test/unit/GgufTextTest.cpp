//===- GgufTextTest.cpp - Vocabularies of GGUF files ----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// test/data/gguf/vocabularies is made by test/scripts/make_gguf_vocabularies.py:
// files as llama.cpp's converter writes them, and the ids of Hugging Face's
// tokenizers.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/Error.h"
#include "runtime/GgufPreTokenizers.h"
#include "runtime/GgufVocabulary.h"
#include "runtime/Tokenizer.h"

#include <nlohmann/json.hpp>

#include <fstream>

using namespace mlsys::rt;
using Json = nlohmann::json;
using Ids = std::vector<int64_t>;

static const std::string data = MLSYS_TEST_DATA "/gguf/vocabularies/";

static const Json &allCases() {
  static const Json cases = Json::parse(std::ifstream(data + "cases.json"));
  return cases;
}

static void expectIds(const Tokenizer &tokenizer, const std::string &name) {
  const Json &cases = allCases().at(name);
  ASSERT_GE(cases.size(), 19u);
  for (const Json &entry : cases) {
    std::string text = entry["text"];
    EXPECT_EQ(tokenizer.encode(text), entry["ids"].get<Ids>()) << name << ": " << text;
  }
}

static Tokenizer fileTokenizer(const std::string &name) {
  TextMaterial text = readGgufText(readGguf(data + name + ".gguf"));
  return Tokenizer::fromJson(text.tokenizerJson, text.tokenizerConfigJson);
}

TEST(GgufTextTest, everyModelEqualsTokenizers) {
  for (const char *name : {"bert", "bert-cased", "t5", "xlm-roberta", "gemma", "gemma4"})
    expectIds(fileTokenizer(name), name);
}

TEST(GgufTextTest, preTokenizersEqualPublishedOnes) {
  std::optional<GgufVocabulary> vocabulary = readGgufVocabulary(readGguf(data + "gpt2.gguf"));
  ASSERT_TRUE(vocabulary);
  size_t checked = 0;
  for (const auto &[name, cases] : allCases().items()) {
    if (!name.starts_with("pre:"))
      continue;
    vocabulary->pre = name.substr(4);
    expectIds(Tokenizer::fromJson(tokenizerJsonFromGguf(*vocabulary)), name);
    ++checked;
  }
  EXPECT_GE(checked, 15u);
}

TEST(GgufTextTest, decodesWhatItEncodes) {
  for (const char *name : {"gpt2", "gemma", "gemma4"}) {
    Tokenizer tokenizer = fileTokenizer(name);
    for (const std::string text : {"Hello, world!", "a  b\n\nc", "na\u00efve \U0001f600"})
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text), true), text) << name;
  }
  Tokenizer bert = fileTokenizer("bert");
  EXPECT_EQ(bert.decode(bert.encode("The Quick brown"), true), "the quick brown");
  Tokenizer t5 = fileTokenizer("t5");
  EXPECT_EQ(t5.decode(t5.encode("the quick  brown"), true), "the quick brown");
}

//===----------------------------------------------------------------------===//
// Settings
//===----------------------------------------------------------------------===//

static GgufValue number(uint64_t value) {
  GgufValue result;
  result.type = GgufType::U32;
  result.bits = value;
  return result;
}

static GgufValue flag(bool value) {
  GgufValue result;
  result.type = GgufType::Bool;
  result.bits = value;
  return result;
}

static GgufValue string(const std::string &value) {
  GgufValue result;
  result.type = GgufType::String;
  result.text = value;
  return result;
}

static GgufValue strings(std::vector<std::string> values) {
  GgufValue result;
  result.type = GgufType::Array;
  result.elementType = GgufType::String;
  result.count = values.size();
  result.strings = std::move(values);
  return result;
}

static GgufValue bytes(const std::vector<uint8_t> &values) {
  GgufValue result;
  result.type = GgufType::Array;
  result.elementType = GgufType::U8;
  result.count = values.size();
  for (uint8_t value : values)
    result.raw.push_back(std::byte(value));
  return result;
}

static Gguf makeFile(const std::string &model, std::vector<std::string> tokens) {
  Gguf file;
  file.path = "m.gguf";
  file.metadata["tokenizer.ggml.model"] = string(model);
  file.metadata["tokenizer.ggml.token_type"] =
      bytes(std::vector<uint8_t>(tokens.size(), 3));
  file.metadata["tokenizer.ggml.tokens"] = strings(std::move(tokens));
  return file;
}

TEST(GgufTextTest, defaultsAreLlamaCpps) {
  Gguf file = makeFile("llama", {"<unk>", "<s>", "</s>"});
  GgufVocabulary llama = *readGgufVocabulary(file);
  EXPECT_EQ(llama.bosId, 1);
  EXPECT_EQ(llama.eosId, 2);
  EXPECT_EQ(llama.unkId, 0);
  EXPECT_TRUE(llama.addBos && !llama.addEos && llama.addSpacePrefix);
  file.metadata["tokenizer.ggml.add_bos_token"] = flag(false);
  file.metadata["tokenizer.ggml.add_space_prefix"] = flag(false);
  EXPECT_FALSE(readGgufVocabulary(file)->addBos);
  EXPECT_FALSE(readGgufVocabulary(file)->addSpacePrefix);

  file = makeFile("gpt2", {"a", "b"});
  EXPECT_EQ(readGgufVocabulary(file)->bosId, -1);
  EXPECT_FALSE(readGgufVocabulary(file)->addBos);
  file.metadata["tokenizer.ggml.pre"] = string("llama-bpe");
  EXPECT_FALSE(readGgufVocabulary(file)->addBos); // There is none.
  file.metadata["tokenizer.ggml.bos_token_id"] = number(1);
  EXPECT_TRUE(readGgufVocabulary(file)->addBos);
  file.metadata["tokenizer.ggml.pre"] = string("roberta-bpe");
  file.metadata["tokenizer.ggml.seperator_token_id"] = number(0);
  GgufVocabulary roberta = *readGgufVocabulary(file);
  EXPECT_TRUE(roberta.addEos && !roberta.addBos);
  EXPECT_EQ(roberta.eosId, 0);

  file = makeFile("t5", {"<pad>", "</s>", "<unk>"});
  GgufVocabulary t5 = *readGgufVocabulary(file);
  EXPECT_TRUE(t5.addEos && !t5.addBos && t5.addSpacePrefix);
  EXPECT_EQ(t5.eosId, 1);
  EXPECT_EQ(t5.unkId, 2);
  // Too few tokens for BERT's ids.
  EXPECT_EQ(readGgufVocabulary(makeFile("bert", {"[PAD]"}))->sepId, -1);
  EXPECT_FALSE(readGgufVocabulary(makeFile("none", {"a"})));
  EXPECT_FALSE(readGgufVocabulary(Gguf()));
}

TEST(GgufTextTest, endsAndNames) {
  Gguf file = makeFile("gpt2", {"<a>", "<b>", "<|im_end|>", "<c>", "<d>"});
  file.metadata["tokenizer.ggml.eos_token_id"] = number(1);
  file.metadata["tokenizer.ggml.bos_token_id"] = number(0);
  file.metadata["tokenizer.ggml.padding_token_id"] = number(3);
  file.metadata["tokenizer.ggml.mask_token_id"] = number(4);
  TextMaterial text = readGgufText(file);
  EXPECT_EQ(text.bosId, 0);
  EXPECT_EQ(text.eosIds, (Ids{1, 2})); // By its name.
  Json config = Json::parse(text.tokenizerConfigJson);
  EXPECT_EQ(config["bos_token"], "<a>");
  EXPECT_EQ(config["eos_token"], "<b>");
  EXPECT_EQ(config["pad_token"], "<c>");
  EXPECT_EQ(config["mask_token"], "<d>");
  EXPECT_FALSE(config.contains("unk_token") || config.contains("chat_template"));
  file.metadata["tokenizer.ggml.eot_token_id"] = number(3);
  file.metadata["tokenizer.ggml.eom_token_id"] = number(4);
  EXPECT_EQ(readGgufText(file).eosIds, (Ids{1, 3, 4}));
}

TEST(GgufTextTest, chatTemplates) {
  Gguf file = makeFile("gpt2", {"<a>"});
  file.metadata["tokenizer.chat_template"] = string("plain");
  EXPECT_EQ(readGgufText(file).chatTemplate, "plain");
  EXPECT_EQ(Json::parse(readGgufText(file).tokenizerConfigJson)["chat_template"], "plain");
  file.metadata["tokenizer.chat_templates"] = strings({"tool_use", "rag"});
  file.metadata["tokenizer.chat_template.tool_use"] = string("tools");
  EXPECT_ERROR(readGgufText(file), "tokenizer.chat_templates lists 'rag', but there is no "
                                   "tokenizer.chat_template.rag");
  file.metadata["tokenizer.chat_template.rag"] = string("rags");
  TextMaterial text = readGgufText(file);
  EXPECT_EQ(text.chatTemplate, "plain");
  Json templates = Json::parse(text.tokenizerConfigJson)["chat_template"];
  ASSERT_EQ(templates.size(), 3u);
  EXPECT_EQ(templates[0]["name"], "default");
  EXPECT_EQ(templates[1]["template"], "tools");
  EXPECT_EQ(Tokenizer::fromJson(text.tokenizerJson, text.tokenizerConfigJson).chatTemplate(),
            "plain");
}

TEST(GgufTextTest, refusesWhatDoesNotFit) {
  Gguf file = makeFile("gpt2", {"<a>"});
  file.metadata["tokenizer.ggml.eos_token_id"] = number(1);
  EXPECT_ERROR(readGgufText(file), "m.gguf: tokenizer.ggml.eos_token_id is 1, but there are 1 tokens");
  file = makeFile("gpt2", {"<a>"});
  file.metadata["tokenizer.ggml.eot_token_id"] = number(7);
  EXPECT_ERROR(readGgufText(file), "tokenizer.ggml.eot_token_id is 7, but there are 1 tokens");
  file = makeFile("gpt2", {"<a>"});
  file.metadata["tokenizer.ggml.scores"] = string("x");
  EXPECT_ERROR(readGgufText(file), "tokenizer.ggml.scores is not an array of numbers");
  file = makeFile("t5", {"<a>"});
  file.metadata["tokenizer.ggml.precompiled_charsmap"] = strings({"x"});
  EXPECT_ERROR(readGgufText(file), "precompiled_charsmap is not an array of bytes");
  file = makeFile("plamo2", {"<a>"});
  EXPECT_ERROR(readGgufText(file), "m.gguf: tokenizer.ggml.model 'plamo2' is not supported");
  file = makeFile("gpt2", {"<a>"});
  file.metadata["tokenizer.ggml.pre"] = string("kimi-k2");
  EXPECT_ERROR(readGgufText(file), "tokenizer.ggml.pre 'kimi-k2' is not known; known are default");
}
