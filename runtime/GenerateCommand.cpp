//===- GenerateCommand.cpp - Prompt in, text out ----------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/AnswerText.h"
#include "runtime/ChatTemplate.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/Generator.h"
#include "runtime/Interrupt.h"
#include "runtime/LogProbs.h"
#include "runtime/TextCommands.h"
#include "runtime/Utf8.h"

#include <nlohmann/json.hpp>

#include <ostream>
#include <span>

using namespace mlsys;
using namespace mlsys::rt;
using Json = nlohmann::ordered_json;

Tokenizer rt::openTokenizer(const TextMaterial &material) {
  if (material.tokenizerJson.empty())
    throw Error("the model has no tokenizer (tokenizer.json)");
  return Tokenizer::fromJson(material.tokenizerJson, material.tokenizerConfigJson);
}

const std::string &rt::chatTemplateText(const TextMaterial &material, const Tokenizer &tokenizer) {
  return material.chatTemplate.empty() ? tokenizer.chatTemplate() : material.chatTemplate;
}

std::string rt::checkedUtf8(const std::string &text, std::ostream &log) {
  if (isValidUtf8(text))
    return text;
  log << "warning: the prompt is not valid UTF-8; wrong bytes become U+FFFD\n";
  return repairUtf8(text);
}

std::string rt::rate(int64_t tokens, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", double(tokens) / seconds) : "- tokens/s";
}

static std::string applyChatTemplate(const GenerateRequest &request, const TextMaterial &material,
                                     const Tokenizer &tokenizer, const std::string &prompt) {
  const std::string &text = chatTemplateText(material, tokenizer);
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

static void checkRequest(const ModelHandle &model, const GenerateRequest &request) {
  if (!model.language)
    throw Error("{} is no causal language model", model.name);
  if (model.text && model.text->output != "logits")
    throw Error("{} ({}) does not write text; use {}", model.name, model.architecture,
                model.text->output == "scores" ? "classify" : "embed");
  if (request.maxTokens < -1)
    throw Error("-n {}: expected a number of tokens, or -1 for no limit", request.maxTokens);
  if (request.printIds && !request.stopStrings.empty())
    throw Error("--stop looks at text, which --ids does not make");
  if (request.logProbs && *request.logProbs < 0)
    throw Error("--logprobs {}: expected 0 or more", *request.logProbs);
}

/// A token with its logarithm of probability, as JSON.
static Json tokenJson(int64_t id, double logProb, const Tokenizer *tokenizer) {
  Json entry = {{"id", id}};
  if (tokenizer)
    entry["token"] = repairUtf8(tokenizer->tokenBytes(id));
  // JSON has no infinities; this is e to the power of -inf as far as f64 goes.
  entry["logprob"] = std::max(logProb, -1e308);
  return entry;
}

static Json logProbsJson(const std::vector<TokenLogProbs> &all, size_t count,
                         const Tokenizer *tokenizer) {
  Json list = Json::array();
  // The stop token has numbers, too, but is not part of the answer.
  for (const TokenLogProbs &token : std::span(all).first(count)) {
    Json entry = tokenJson(token.id, token.logProb, tokenizer);
    entry["best"] = Json::array();
    for (auto [id, logProb] : token.best)
      entry["best"].push_back(tokenJson(id, logProb, tokenizer));
    list.push_back(std::move(entry));
  }
  return list;
}

static Json timingsJson(const ModelHandle &model, const Generation &result) {
  return {{"load_seconds", model.loadSeconds},
          {"compile_seconds", model.compileSeconds},
          {"prompt_seconds", result.promptSeconds},
          {"decode_seconds", result.decodeSeconds},
          {"decode_steps", result.decodeSteps}};
}

int rt::runGenerate(ModelHandle &model, const GenerateRequest &request, Streams streams) {
  checkRequest(model, request);
  TextMaterial material = model.text.value_or(TextMaterial{});
  // Ids in and ids out need no tokenizer.
  std::optional<Tokenizer> tokenizer;
  if (request.promptIds.empty() || !request.printIds)
    tokenizer = openTokenizer(material);
  const Tokenizer *tokenizerOrNull = tokenizer ? &*tokenizer : nullptr;
  std::vector<int64_t> prompt = promptIds(request, material, tokenizerOrNull, streams.log);

  GenerationLimits limits;
  limits.maxTokens = request.maxTokens;
  limits.chunk = request.chunk;
  limits.cancel = request.cancel;
  if (!request.ignoreEos)
    limits.stopIds = material.eosIds;
  Sampler sampler(request.sampling);
  sampler.setContext(prompt);
  std::optional<AnswerText> answer;
  if (!request.printIds) {
    answer.emplace(*tokenizer, request.stopStrings);
    // An answer in a chat is a text of its own.
    if (!request.chat)
      answer->follow(prompt);
  }
  std::string text;
  auto show = [&](std::string piece) {
    text += piece;
    if (!request.json)
      streams.out << piece << std::flush;
  };
  std::vector<TokenLogProbs> probabilities;
  auto sample = [&](std::span<const float> logits) {
    int64_t id = sampler.sample(logits);
    if (request.logProbs)
      probabilities.push_back(logProbs(logits, id, *request.logProbs));
    return id;
  };
  if (!request.logProbs)
    limits.sampler = &sampler;
  auto onToken = [&](int64_t id) {
    show(answer ? answer->push(id) : (text.empty() ? "" : " ") + std::to_string(id));
    return answer && answer->stopped() ? Next::Stop : Next::Continue;
  };
  Generation result = Conversation(*model.language).generate(prompt, limits, sample, onToken);
  if (answer)
    show(answer->finish());
  if (request.json) {
    Json json;
    if (answer)
      json["text"] = text;
    json["ids"] = result.ids;
    json["prompt_tokens"] = result.promptTokens;
    json["stop_reason"] = stopReasonText(result.reason);
    json["seed"] = request.sampling.seed;
    json["timings"] = timingsJson(model, result);
    if (request.logProbs)
      json["logprobs"] = logProbsJson(probabilities, result.ids.size(), tokenizerOrNull);
    streams.out << json.dump();
  }
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
