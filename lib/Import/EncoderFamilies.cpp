//===- EncoderFamilies.cpp - Families of encoders -------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Families.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

static void configureBert(ConfigFields &fields, ModelConfig &config) {
  config.norm = NormKind::Layer;
  config.normBias = true;
  if (!fields.has("layer_norm_eps"))
    config.normEpsilon = 1e-12;
  config.placement.before = false;
  config.placement.onResidual = true;
  config.finalNorm = false;
  config.gatedMlp = false;
  if (!fields.has("hidden_act"))
    config.activation = Activation::Gelu;
  config.queryBias = config.keyBias = config.valueBias = config.outputBias = config.mlpBias = true;
  config.headBias = config.classifierBias = true;
  config.learnedPositions = config.contextLength;
  config.tokenTypes = fields.integer({"type_vocab_size"}).value_or(2);
  config.embeddingNorm = true;
  config.bidirectional = true;
  config.pooler = true;
  config.tiedEmbeddings = fields.boolean({"tie_word_embeddings"}).value_or(true);
  config.ropes.clear();
  for (LayerConfig &layer : config.layerConfigs)
    layer.rope = -1;
  if (std::optional<std::string> type = fields.string({"position_embedding_type"});
      type && *type != "absolute")
    fields.fail("position_embedding_type '" + *type + "' is not supported; supported is absolute");
  if (fields.boolean({"is_decoder"}).value_or(false))
    fields.fail("is_decoder is true, which is not supported for this family");
}

/// Positions begin behind the one of the padding token.
static void configureRoberta(ConfigFields &fields, ModelConfig &config) {
  configureBert(fields, config);
  int64_t padding = fields.integer({"pad_token_id"}).value_or(1);
  if (padding < 0 || padding >= config.contextLength)
    return fields.fail("pad_token_id is " + Twine(padding) + ", expected a position below " +
                       Twine(config.contextLength));
  config.firstPosition = padding + 1;
  // GGUF files hold the table from there on.
  if (config.isGguf)
    config.firstPosition = 0;
  config.contextLength -= config.firstPosition;
  config.learnedPositions = config.contextLength;
}

#define ENCODER_LAYER "encoder.layer.{0}."
#define BERT_NAMES                                                                                 \
  {Module::Embedding, "embeddings.word_embeddings"},                                               \
      {Module::Positions, "embeddings.position_embeddings", Pick::FromFirstPosition},              \
      {Module::TokenTypes, "embeddings.token_type_embeddings"},                                    \
      {Module::EmbeddingNorm, "embeddings.LayerNorm"},                                             \
      {Module::Query, ENCODER_LAYER "attention.self.query"},                                       \
      {Module::Key, ENCODER_LAYER "attention.self.key"},                                           \
      {Module::Value, ENCODER_LAYER "attention.self.value"},                                       \
      {Module::Output, ENCODER_LAYER "attention.output.dense"},                                    \
      {Module::AttentionPostNorm, ENCODER_LAYER "attention.output.LayerNorm"},                     \
      {Module::Up, ENCODER_LAYER "intermediate.dense"},                                            \
      {Module::Down, ENCODER_LAYER "output.dense"}, {                                              \
    Module::MlpPostNorm, ENCODER_LAYER "output.LayerNorm"                                          \
  }
static constexpr ModuleName bertNames[] = {
    BERT_NAMES,
    {Module::Head, "cls.predictions|cls.predictions.decoder"},
    {Module::HeadDense, "cls.predictions.transform.dense"},
    {Module::HeadNorm, "cls.predictions.transform.LayerNorm"},
    {Module::Classifier, "classifier"},
    {Module::ClassifierDense, "bert.pooler.dense"},
};
static constexpr ModuleName robertaNames[] = {
    BERT_NAMES,
    {Module::Head, "lm_head|lm_head.decoder"},
    {Module::HeadDense, "lm_head.dense"},
    {Module::HeadNorm, "lm_head.layer_norm"},
    {Module::Classifier, "classifier.out_proj"},
    {Module::ClassifierDense, "classifier.dense"},
};
static constexpr ModuleName bertGgufNames[] = {
    {Module::AttentionPostNorm, "blk.{0}.attn_output_norm"},
    {Module::MlpPostNorm, "blk.{0}.layer_output_norm"},
};

static const Family families[] = {
    // clang-format off
    {"bert", "bert", "Bert", "bert.", configureBert, bertNames, bertGgufNames},
    {"roberta", nullptr, "Roberta", "roberta.", configureRoberta, robertaNames, bertGgufNames},
    {"xlm-roberta", nullptr, "XLMRoberta", "roberta.", configureRoberta, robertaNames, bertGgufNames},
    // clang-format on
};

ArrayRef<Family> importer::getEncoderFamilies() { return families; }
