//===- WordLevel.h - One token a word ---------------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/TokenModel.h"

namespace mlsys::rt {

/// A model with "type": "WordLevel": whole words, or the unknown token.
class WordLevel : public TokenModel {
public:
  explicit WordLevel(const nlohmann::json &model);

  std::unique_ptr<TokenModel::Session> makeSession() const override;
  std::optional<int32_t> find(std::string_view token) const override;
  void forEachToken(FunctionRef<void(const std::string &, int32_t)> sink) const override;

private:
  class Session;

  StringMap ids;
  std::string unknownToken;
};

} // namespace mlsys::rt
