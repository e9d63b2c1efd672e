//===- SentencePooling.cpp - How embeddings are made of hidden states -----===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// sentence-transformers lists what follows a transformer in modules.json: a pooling, whose
// folder has a config.json, and maybe a normalization.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

/// The pooling that its config.json says: a name, or flags.
static Expected<std::string> parsePooling(const json::Object &config, const std::string &file) {
  std::vector<StringRef> modes;
  if (std::optional<StringRef> mode = config.getString("pooling_mode"))
    modes.push_back(*mode);
  for (auto [key, mode] : {std::pair("pooling_mode_cls_token", "cls"),
                           std::pair("pooling_mode_mean_tokens", "mean"),
                           std::pair("pooling_mode_lasttoken", "lasttoken"),
                           std::pair("pooling_mode_max_tokens", "max"),
                           std::pair("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"),
                           std::pair("pooling_mode_weightedmean_tokens", "weightedmean")})
    if (config.getBoolean(key).value_or(false))
      modes.push_back(mode);
  if (modes.size() == 1 && (modes[0] == "cls" || modes[0] == "mean"))
    return modes[0].str();
  if (modes.size() == 1 && modes[0] == "lasttoken")
    return std::string("last");
  return makeError(file + ": the pooling is not supported; supported are mean, cls and lasttoken, "
                          "one of them");
}

Error importer::readPooling(StringRef folder, rt::TextMaterial &text) {
  Expected<std::string> listText = readOptionalText(folder, "modules.json");
  if (!listText)
    return listText.takeError();
  if (listText->empty())
    return Error::success();
  std::string file = (folder + "/modules.json").str();
  // The parser of objects bounds the nesting.
  Expected<json::Object> wrapped = parseJsonObject("{\"modules\":" + *listText + "}", file);
  if (!wrapped)
    return wrapped.takeError();
  const json::Array *modules = wrapped->getArray("modules");
  if (!modules)
    return makeError(file + ": expected a JSON list");
  for (const json::Value &item : *modules) {
    const json::Object *module = item.getAsObject();
    StringRef type = module ? module->getString("type").value_or("") : "";
    StringRef path = module ? module->getString("path").value_or("") : "";
    if (type.ends_with(".Normalize"))
      text.normalize = true;
    if (!type.ends_with(".Pooling"))
      continue;
    if (path.empty() || path.contains("..") || path.contains('/') || path.contains('\\'))
      return makeError(file + ": the path of the pooling is no folder beside it");
    Expected<std::string> config = readOptionalText(folder, (path + "/config.json").str());
    if (!config)
      return config.takeError();
    std::string configFile = (folder + "/" + path + "/config.json").str();
    Expected<json::Object> object = parseJsonObject(*config, configFile);
    if (!object)
      return object.takeError();
    Expected<std::string> pooling = parsePooling(*object, configFile);
    if (!pooling)
      return pooling.takeError();
    text.pooling = *pooling;
  }
  return Error::success();
}
