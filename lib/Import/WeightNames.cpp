//===- WeightNames.cpp - What tensors are called --------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Families.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

#define LAYER "layers.{0}."
#define BLOCK "blk.{0}."

/// The names that most families of transformers have.
static constexpr ModuleName commonNames[] = {
    {Module::Embedding, "embed_tokens"},
    {Module::AttentionNorm, LAYER "input_layernorm"},
    {Module::Query, LAYER "self_attn.q_proj"},
    {Module::Key, LAYER "self_attn.k_proj"},
    {Module::Value, LAYER "self_attn.v_proj"},
    {Module::Output, LAYER "self_attn.o_proj"},
    {Module::QueryNorm, LAYER "self_attn.q_norm"},
    {Module::KeyNorm, LAYER "self_attn.k_norm"},
    {Module::MlpNorm, LAYER "post_attention_layernorm"},
    {Module::Gate, LAYER "mlp.gate_proj"},
    {Module::Up, LAYER "mlp.up_proj"},
    {Module::Down, LAYER "mlp.down_proj"},
    {Module::Router, LAYER "mlp.gate"},
    {Module::ExpertGate, LAYER "mlp.experts.{1}.gate_proj"},
    {Module::ExpertUp, LAYER "mlp.experts.{1}.up_proj"},
    {Module::ExpertDown, LAYER "mlp.experts.{1}.down_proj"},
    {Module::SharedRouter, LAYER "mlp.shared_expert_gate"},
    {Module::SharedGate, LAYER "mlp.shared_expert.gate_proj"},
    {Module::SharedUp, LAYER "mlp.shared_expert.up_proj"},
    {Module::SharedDown, LAYER "mlp.shared_expert.down_proj"},
    {Module::FinalNorm, "norm"},
    {Module::Head, "lm_head"},
    {Module::Classifier, "score"},
};

/// llama.cpp's names (gguf-py's constants.py).
static constexpr ModuleName ggufNames[] = {
    {Module::Embedding, "token_embd"},
    {Module::Positions, "position_embd"},
    {Module::TokenTypes, "token_types"},
    {Module::EmbeddingNorm, "token_embd_norm"},
    {Module::AttentionNorm, BLOCK "attn_norm"},
    {Module::Query, BLOCK "attn_q"},
    {Module::Key, BLOCK "attn_k"},
    {Module::Value, BLOCK "attn_v"},
    {Module::Output, BLOCK "attn_output"},
    {Module::QueryNorm, BLOCK "attn_q_norm"},
    {Module::KeyNorm, BLOCK "attn_k_norm"},
    {Module::AttentionPostNorm, BLOCK "post_attention_norm"},
    {Module::MlpNorm, BLOCK "ffn_norm"},
    {Module::Gate, BLOCK "ffn_gate"},
    {Module::Up, BLOCK "ffn_up"},
    {Module::Down, BLOCK "ffn_down"},
    {Module::Router, BLOCK "ffn_gate_inp"},
    {Module::ExpertGate, BLOCK "ffn_gate_exps"},
    {Module::ExpertUp, BLOCK "ffn_up_exps"},
    {Module::ExpertDown, BLOCK "ffn_down_exps"},
    {Module::SharedRouter, BLOCK "ffn_gate_inp_shexp"},
    {Module::SharedGate, BLOCK "ffn_gate_shexp"},
    {Module::SharedUp, BLOCK "ffn_up_shexp"},
    {Module::SharedDown, BLOCK "ffn_down_shexp"},
    {Module::MlpPostNorm, BLOCK "post_ffw_norm"},
    {Module::FinalNorm, "output_norm"},
    {Module::Head, "output"},
    {Module::Classifier, "cls.output"},
    {Module::ClassifierDense, "cls"},
};

static const ModuleName *find(ArrayRef<ModuleName> names, Module module) {
  const auto *found = llvm::find_if(names, [&](const ModuleName &name) { return name.module == module; });
  return found == names.end() ? nullptr : found;
}

const ModuleName *importer::findModuleName(const ModelConfig &config, Module module) {
  const Family &family = *config.family;
  if (const ModuleName *own = find(config.isGguf ? family.ggufNames : family.names, module))
    return own;
  return find(config.isGguf ? ArrayRef(ggufNames) : ArrayRef(commonNames), module);
}

//===----------------------------------------------------------------------===//
// Finding a family
//===----------------------------------------------------------------------===//

template <typename F> static void forEachFamily(F visit) {
  for (ArrayRef<Family> families : {getDecoderFamilies(), getGptFamilies(), getEncoderFamilies()})
    for (const Family &family : families)
      visit(family);
}

const Family *importer::findFamily(StringRef type) {
  const Family *found = nullptr;
  forEachFamily([&](const Family &family) {
    if (type == family.type)
      found = &family;
  });
  return found;
}

const Family *importer::findGgufFamily(StringRef architecture) {
  const Family *found = nullptr;
  forEachFamily([&](const Family &family) {
    // Several types may share an architecture; the first is the general one.
    if (!found && family.gguf && architecture == family.gguf)
      found = &family;
  });
  return found;
}

std::string importer::listFamilies() {
  std::string list;
  forEachFamily([&](const Family &family) {
    list += (list.empty() ? "" : ", ") + std::string(family.type);
  });
  return list;
}

std::string importer::listGgufFamilies() {
  std::string list;
  forEachFamily([&](const Family &family) {
    if (family.gguf && findGgufFamily(family.gguf) == &family)
      list += (list.empty() ? "" : ", ") + std::string(family.gguf);
  });
  return list;
}
