//===- tokenizer.cpp - Fuzzes tokenizer.json ------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The input is a tokenizer.json; after a zero byte may follow a text to encode,
// and after another a tokenizer_config.json.
//
//===----------------------------------------------------------------------===//
#include "Fuzz.h"

#include "runtime/Detokenizer.h"
#include "runtime/Tokenizer.h"

using namespace mlsys;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto [json, rest] = fuzz::splitAtZero(fuzz::textOf(data, size));
  auto [text, config] = fuzz::splitAtZero(rest);
  fuzz::expectErrorsOnly([&] {
    rt::Tokenizer tokenizer = rt::Tokenizer::fromJson(std::string(json), std::string(config));
    for (std::string_view each : {std::string_view("It's 12  \u00e9\u4f60\n\n<s> ab"), text}) {
      std::vector<int64_t> ids = tokenizer.encode(each.substr(0, 256));
      tokenizer.decode(ids, true);
      tokenizer.decode(ids, false);
      rt::Detokenizer stream(tokenizer, true);
      for (int64_t id : ids)
        stream.push(id);
      stream.finish();
    }
  });
  return 0;
}
