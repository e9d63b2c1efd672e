//===- template.cpp - Fuzzes chat templates -------------------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
//
// The input is a Jinja template; after a zero byte may follow the variables as
// JSON.
//
//===----------------------------------------------------------------------===//
#include "Fuzz.h"

#include "runtime/ChatTemplate.h"

using namespace mlsys;

static const char *const variables = R"({
  "messages": [{"role": "system", "content": "Be brief."},
               {"role": "user", "content": "Hi \u00e9 <b>"},
               {"role": "assistant", "content": [{"type": "text", "text": "x"}],
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]}],
  "tools": [{"type": "function", "function": {"name": "f", "parameters": {"a": {"type": "int"}}}}],
  "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "x": [3, 1, 2],
  "n": -7, "f": 1.5, "s": "a,b", "d": {"k": "v"}, "none": null})";

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto [text, json] = fuzz::splitAtZero(fuzz::textOf(data, size));
  fuzz::expectErrorsOnly([&] {
    rt::ChatTemplate jinja = rt::ChatTemplate::parse(std::string(text));
    jinja.renderJson(json.empty() ? std::string(variables) : std::string(json), 1700000000);
  });
  return 0;
}
