//===- HuggingFace.cpp - Reads Hugging Face model folders -----------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//

#include "ModelConfig.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

using namespace llvm;
using namespace mlsys;
using namespace mlsys::importer;

/// The largest text file that is read.
static constexpr uint64_t maxTextBytes = uint64_t(256) << 20;

static std::string joinPath(StringRef folder, StringRef name) {
  SmallString<256> path(folder);
  sys::path::append(path, name);
  return path.str().str();
}

/// A file's text.
static Expected<std::string> readText(const std::string &path) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return makeError("cannot open " + path + ": " + code.message());
  if (status.type() != sys::fs::file_type::regular_file)
    return makeError(path + " is not a regular file");
  if (status.getSize() > maxTextBytes)
    return makeError(path + " has " + Twine(status.getSize()) + " bytes; at most " +
                     Twine(maxTextBytes) + " are read");
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer = MemoryBuffer::getFile(path);
  if (!buffer)
    return makeError("cannot read " + path + ": " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}

Expected<std::string> importer::readOptionalText(StringRef folder, StringRef name) {
  std::string path = joinPath(folder, name);
  if (!sys::fs::exists(path))
    return std::string();
  return readText(path);
}

/// The text as an object; an empty one for an empty text.
static Expected<json::Object> parseOptional(StringRef text, const std::string &file) {
  if (text.empty())
    return json::Object();
  return parseJsonObject(text, file);
}

/// The ids of `key`: a number, a list of numbers or null.
static Expected<std::vector<int64_t>> tokenIds(const json::Object &object, StringRef key,
                                               const std::string &file) {
  std::vector<int64_t> ids;
  const json::Value *value = object.get(key);
  if (!value || value->kind() == json::Value::Null)
    return ids;
  auto add = [&](const json::Value &item) {
    std::optional<int64_t> id = integerOf(item);
    if (id && *id >= 0)
      ids.push_back(*id);
    return id && *id >= 0;
  };
  bool valid = true;
  if (const json::Array *list = value->getAsArray()) {
    for (const json::Value &item : *list)
      valid &= add(item);
  } else {
    valid = add(*value);
  }
  if (!valid)
    return makeError(file + ": " + key + " is not a token id or a list of them");
  return ids;
}

/// The chat template of a tokenizer_config.json: a string, or the one called
/// "default" of a list.
static std::string configuredTemplate(const json::Object &config) {
  const json::Value *value = config.get("chat_template");
  if (!value)
    return "";
  if (std::optional<StringRef> text = value->getAsString())
    return text->str();
  if (const json::Array *list = value->getAsArray())
    for (const json::Value &item : *list)
      if (const json::Object *entry = item.getAsObject())
        if (entry->getString("name") == StringRef("default"))
          return entry->getString("template").value_or("").str();
  return "";
}

/// The text files, and the token ids that generation_config.json or else
/// config.json gives.
static Error readTextFiles(StringRef folder, const json::Object &config,
                           const std::string &configFile, rt::TextMaterial &text) {
  struct File {
    const char *name;
    std::string *content;
  };
  std::string templateFile;
  const File files[] = {{"tokenizer.json", &text.tokenizerJson},
                        {"tokenizer_config.json", &text.tokenizerConfigJson},
                        {"generation_config.json", &text.generationConfigJson},
                        {"chat_template.jinja", &templateFile}};
  for (const File &file : files) {
    Expected<std::string> content = readOptionalText(folder, file.name);
    if (!content)
      return content.takeError();
    *file.content = std::move(*content);
  }
  Expected<json::Object> tokenizer =
      parseOptional(text.tokenizerConfigJson, joinPath(folder, "tokenizer_config.json"));
  if (!tokenizer)
    return tokenizer.takeError();
  text.chatTemplate = templateFile.empty() ? configuredTemplate(*tokenizer) : templateFile;

  std::string generationFile = joinPath(folder, "generation_config.json");
  Expected<json::Object> generation = parseOptional(text.generationConfigJson, generationFile);
  if (!generation)
    return generation.takeError();
  for (StringRef key : {"bos_token_id", "eos_token_id"}) {
    Expected<std::vector<int64_t>> ids = tokenIds(*generation, key, generationFile);
    if (ids && ids->empty())
      ids = tokenIds(config, key, configFile);
    if (!ids)
      return ids.takeError();
    if (key == "eos_token_id")
      text.eosIds = *ids;
    else if (!ids->empty())
      text.bosId = ids->front();
  }
  return Error::success();
}

Expected<ModelFiles> importer::readHuggingFace(StringRef folder, bool randomWeights) {
  std::string configFile = joinPath(folder, "config.json");
  if (!sys::fs::exists(configFile))
    return makeError(folder + " has no config.json; give a Hugging Face model folder or a .gguf "
                              "file");
  Expected<std::string> text = readText(configFile);
  if (!text)
    return text.takeError();
  Expected<json::Object> object = parseJsonObject(*text, configFile);
  if (!object)
    return object.takeError();

  ModelFiles files;
  Expected<ModelConfig> config = parseHuggingFaceConfig(*object, configFile);
  if (!config)
    return config.takeError();
  files.config = std::move(*config);
  if (Error error = readTextFiles(folder, *object, configFile, files.text))
    return std::move(error);
  if (Error error = readPooling(folder, files.text))
    return std::move(error);
  if (randomWeights)
    return files;
  Expected<Checkpoint> checkpoint = readSafetensorsCheckpoint(folder);
  if (!checkpoint)
    return checkpoint.takeError();
  files.checkpoint = std::move(*checkpoint);
  return files;
}
