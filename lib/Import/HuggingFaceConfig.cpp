//===- HuggingFaceConfig.cpp - What a config.json says --------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "Families.h"

#include "llvm/ADT/STLExtras.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;
using program::DType;

static std::optional<DType> parseDType(ConfigFields &fields) {
  StringRef key = fields.has("dtype") ? "dtype" : "torch_dtype";
  std::optional<std::string> name = fields.string({key});
  if (!name)
    return std::nullopt;
  StringRef plain = *name;
  plain.consume_front("torch.");
  if (plain == "float32")
    return DType::F32;
  if (plain == "bfloat16")
    return DType::BF16;
  if (plain == "float16")
    return DType::F16;
  fields.fail(key + " is \"" + *name + "\"; supported are float32, bfloat16 and float16");
  return std::nullopt;
}

/// What the class of a model has on top of the layers.
static constexpr std::pair<const char *, HeadKind> classEndings[] = {
    {"ForCausalLM", HeadKind::Language},
    {"LMHeadModel", HeadKind::Language},
    {"ForMaskedLM", HeadKind::MaskedLanguage},
    {"ForSequenceClassification", HeadKind::Classifier},
    {"Model", HeadKind::Hidden}};

/// Reads the head from the class's name.
static void readClass(ConfigFields &fields, const Family &family, ModelConfig &config) {
  std::vector<std::string> classes = fields.strings("architectures");
  StringRef prefix = family.classPrefix;
  if (classes.empty()) {
    config.architecture = (prefix + "ForCausalLM").str();
    return;
  }
  config.architecture = classes.front();
  StringRef rest = config.architecture;
  if (rest.consume_front(prefix))
    for (auto [ending, head] : classEndings)
      if (rest == ending) {
        config.head = head;
        return;
      }
  std::string known;
  for (auto [ending, head] : classEndings)
    known += (known.empty() ? "" : ", ") + (prefix + ending).str();
  fields.fail("architecture \"" + config.architecture + "\" is not supported for model_type '" +
              family.type + "'; supported are " + known);
}

/// A classifier's scores.
static void readLabels(ConfigFields &fields, const json::Object &object, ModelConfig &config) {
  if (config.head != HeadKind::Classifier)
    return;
  const json::Object *names = object.getObject("id2label");
  int64_t listed = names ? static_cast<int64_t>(names->size()) : 2;
  config.labels = fields.integer({"num_labels"}).value_or(listed);
  for (int64_t index = 0; names && index < listed; ++index) {
    std::optional<StringRef> name = names->getString(std::to_string(index));
    config.labelNames.push_back(json::fixUTF8(name.value_or("LABEL_" + std::to_string(index))));
  }
}

Expected<ModelConfig> importer::parseHuggingFaceConfig(const json::Object &object,
                                                       StringRef file) {
  ConfigFields fields(object, file);
  std::optional<std::string> type = fields.string({"model_type"});
  const Family *family = type ? findFamily(*type) : nullptr;
  if (!type)
    fields.fail("model_type is missing; supported are " + listFamilies());
  else if (!family)
    fields.fail("model_type '" + *type + "' is not supported; supported are " + listFamilies());
  if (fields.has("quantization_config"))
    fields.fail("quantization_config: quantized safetensors are not supported; use the original "
                "checkpoint or a GGUF file");
  if (!fields.error().empty())
    return makeError(fields.error());
  ModelConfig config;
  config.file = file.str();
  readClass(fields, *family, config);
  readLabels(fields, object, config);
  config.dtype = parseDType(fields);
  return readModelConfig(*family, fields, std::move(config));
}
