//===- GenerateCommand.cpp - Prompt in, text out ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ChatTemplate.h"
#include "runtime/Commands.h"
#include "runtime/Detokenizer.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/Interrupt.h"
#include "runtime/Tokenizer.h"
#include "runtime/Utf8.h"

#include <algorithm>
#include <ostream>
#include <span>

using namespace mlsys;
using namespace mlsys::rt;

/// The tokenizer of a model's text material.
static Tokenizer openTokenizer(const TextMaterial &material) {
  if (material.tokenizerJson.empty())
    throw Error("the model has no tokenizer (tokenizer.json)");
  return Tokenizer::fromJson(material.tokenizerJson, material.tokenizerConfigJson);
}

static std::string checkedUtf8(const std::string &prompt, std::ostream &log) {
  if (isValidUtf8(prompt))
    return prompt;
  log << "warning: the prompt is not valid UTF-8; wrong bytes become U+FFFD\n";
  return repairUtf8(prompt);
}

static std::string applyChatTemplate(const GenerateRequest &request, const TextMaterial &material,
                                     const Tokenizer &tokenizer, const std::string &prompt) {
  const std::string &text =
      material.chatTemplate.empty() ? tokenizer.chatTemplate() : material.chatTemplate;
  if (text.empty())
    throw Error("--chat: the model has no chat template");
  std::vector<ChatMessage> messages;
  if (!request.system.empty())
    messages.push_back({"system", request.system});
  messages.push_back({"user", prompt});
  return ChatTemplate::parse(text).render(messages, /*addGenerationPrompt=*/true,
                                          tokenizer.bosToken(), tokenizer.eosToken());
}

static std::vector<int64_t> promptIds(const GenerateRequest &request,
                                      const TextMaterial &material, const Tokenizer *tokenizer,
                                      std::ostream &log) {
  std::vector<int64_t> ids = request.promptIds;
  if (ids.empty() && tokenizer) {
    if (request.prompt.empty() && !request.chat)
      log << "warning: the prompt is empty; the text begins from nothing\n";
    std::string prompt = checkedUtf8(request.prompt, log);
    if (request.chat)
      prompt = applyChatTemplate(request, material, *tokenizer, prompt);
    // A chat template writes the special tokens itself.
    ids = tokenizer->encode(prompt, !request.chat);
  }
  if (ids.empty() && material.bosId >= 0)
    ids.push_back(material.bosId);
  if (ids.empty())
    throw Error("the prompt is empty, and the model has no token that begins a text; give a "
                "prompt with -p");
  return ids;
}

/// Gives the prompt to the detokenizer and returns what of its text is held back.
static std::string pushPrompt(Detokenizer &detokenizer, const Tokenizer &tokenizer,
                              std::span<const int64_t> prompt) {
  Detokenizer copy(tokenizer, /*skipSpecialTokens=*/true);
  for (int64_t id : prompt) {
    detokenizer.push(id);
    copy.push(id);
  }
  return copy.finish();
}

/// Takes off `text` the beginning that it shares with `held`, and that off `held`.
static std::string withoutHeld(std::string &held, std::string text) {
  size_t shared = std::mismatch(held.begin(), held.end(), text.begin(), text.end()).first - held.begin();
  // Other text than the prompt's: nothing of it is left to come.
  held = shared == text.size() ? held.substr(shared) : "";
  return text.substr(shared);
}

static std::string rate(int64_t tokens, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", double(tokens) / seconds) : "- tokens/s";
}

int rt::runGenerate(ModelHandle &model, const GenerateRequest &request, Streams streams) {
  if (!model.language)
    throw Error("{} is no causal language model", model.name);
  if (request.maxTokens < -1)
    throw Error("-n {}: expected a number of tokens, or -1 for no limit", request.maxTokens);
  TextMaterial material = model.text.value_or(TextMaterial{});
  // Ids in and ids out need no tokenizer.
  std::optional<Tokenizer> tokenizer;
  if (request.promptIds.empty() || !request.printIds)
    tokenizer = openTokenizer(material);
  std::vector<int64_t> prompt =
      promptIds(request, material, tokenizer ? &*tokenizer : nullptr, streams.log);

  GenerationLimits limits;
  limits.maxTokens = request.maxTokens;
  limits.chunk = request.chunk;
  limits.cancel = request.cancel;
  if (!request.ignoreEos)
    limits.stopIds = material.eosIds;
  Sampler sampler(request.sampling);
  std::optional<Detokenizer> detokenizer;
  // The end of the prompt's text that the detokenizer still holds.
  std::string held;
  if (!request.printIds) {
    detokenizer.emplace(*tokenizer, /*skipSpecialTokens=*/true);
    // What a token becomes may depend on the tokens before it; an answer in a chat is a text of
    // its own.
    if (!request.chat)
      held = pushPrompt(*detokenizer, *tokenizer, prompt);
  }
  bool first = true;
  auto onToken = [&](int64_t id) {
    if (request.printIds)
      streams.out << (first ? "" : " ") << id;
    else
      streams.out << withoutHeld(held, detokenizer->push(id));
    first = false;
    streams.out.flush();
  };
  Generation result = generate(
      *model.language, prompt, limits,
      [&](std::span<const float> logits) { return sampler.sample(logits); }, onToken);
  if (detokenizer)
    streams.out << withoutHeld(held, detokenizer->finish());
  streams.out << "\n" << std::flush;
  if (!streams.out)
    throw Error("cannot write the generated text");

  std::string compiled =
      model.compileSeconds > 0 ? fmt::format(", compiled in {:.2f} s", model.compileSeconds) : "";
  streams.log << fmt::format("loaded in {:.2f} s{}; prompt {} tokens, {}; generated {} tokens, "
                             "{} ({})\n",
                             model.loadSeconds, compiled, result.promptTokens,
                             rate(result.promptTokens, result.promptSeconds), result.ids.size(),
                             rate(result.decodeSteps, result.decodeSeconds),
                             stopReasonText(result.reason));
  return result.reason == StopReason::Cancelled ? interruptedExitCode : 0;
}
