//===- TextMaterial.cpp - What turns ids into text --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/TextMaterial.h"

#include "runtime/MappedFile.h"

#include <filesystem>

using namespace mlsys::rt;

static std::string readText(const std::string &path) {
  MappedFile file(path);
  return {reinterpret_cast<const char *>(file.data()), static_cast<size_t>(file.size())};
}

std::optional<TextMaterial> mlsys::rt::readTokenizerFolder(const std::string &path) {
  std::filesystem::path folder(path);
  std::error_code error;
  if (!std::filesystem::is_regular_file(folder / "tokenizer.json", error))
    return std::nullopt;
  TextMaterial material;
  material.tokenizerJson = readText((folder / "tokenizer.json").string());
  if (std::filesystem::is_regular_file(folder / "tokenizer_config.json", error))
    material.tokenizerConfigJson = readText((folder / "tokenizer_config.json").string());
  return material;
}
