//===- ChatTemplate.h - Prompts from conversations --------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace mlsys::rt {

/// One turn of a conversation.
struct ChatMessage {
  std::string role; ///< "system", "user", "assistant", ...
  std::string content;
};

/// The Jinja template with which a model's tokenizer turns a conversation into
/// a prompt. It renders as Hugging Face's apply_chat_template does, with tools
/// and documents none. Immutable; one object may serve many threads.
class ChatTemplate {
public:
  /// Parses the template. Throws rt::Error with the line for what is wrong or
  /// not supported.
  static ChatTemplate parse(const std::string &jinja);

  /// The prompt. `addGenerationPrompt` opens the assistant's turn. strftime_now
  /// reads the local clock, or `now` as UTC. Throws rt::Error with the line,
  /// also where the template itself calls raise_exception.
  std::string render(std::span<const ChatMessage> messages,
                     bool addGenerationPrompt, const std::string &bosToken,
                     const std::string &eosToken,
                     std::optional<std::time_t> now = {}) const;

  /// The same with the template's variables given as a JSON object, such as
  /// {"messages": [...], "tools": [...], "bos_token": "<s>"}.
  std::string renderJson(const std::string &variables,
                         std::optional<std::time_t> now = {}) const;

private:
  struct Data;
  std::shared_ptr<const Data> data;
};

} // namespace mlsys::rt
