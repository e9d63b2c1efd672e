//===- ChatCommand.cpp - A conversation with a model ------------*- C++ -*-===//
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
#include "runtime/LineReader.h"
#include "runtime/TextCommands.h"

#include <ostream>

using namespace mlsys;
using namespace mlsys::rt;

static const char *helpText = R"(/regenerate   makes the last answer again, with new random choices
/reset        forgets the conversation
/system TEXT  sets the system message, or without TEXT removes it
/help         shows this
/exit, /quit  ends; so does Ctrl-D
A line that ends with \ goes on in the next one. Ctrl-C stops an answer, or ends at the prompt.
)";

namespace {

/// The conversation: what was said, and the model that answers.
class Chat {
public:
  Chat(ModelHandle &model, const ChatRequest &request, Interrupts *interrupts, Streams streams);
  int run(LineReader &input);

private:
  LineReader::Status readMessage(LineReader &input, std::string &message);
  bool obey(const std::string &line);
  void attempt(const std::function<void()> &turn);
  void say(const std::string &message);
  void regenerate();
  void answer();
  std::vector<int64_t> promptIds() const;
  void logTurn(const Generation &result);
  template <typename... Parts> void note(Parts &&...parts) {
    (streams.log << ... << parts) << "\n" << std::flush;
  }

  ModelHandle &model;
  const ChatRequest &request;
  Interrupts *interrupts;
  Streams streams;
  TextMaterial material;
  Tokenizer tokenizer;
  ChatTemplate chatTemplate;
  Conversation conversation;
  Sampler sampler;
  std::string system;
  /// The user's and the model's turns; the system message is apart.
  std::vector<ChatMessage> messages;
};

} // namespace

static ChatTemplate openChatTemplate(const TextMaterial &material, const Tokenizer &tokenizer) {
  const std::string &text = chatTemplateText(material, tokenizer);
  if (text.empty())
    throw Error("the model has no chat template, so how a conversation is written for it is not "
                "known; use generate");
  return ChatTemplate::parse(text);
}

static LanguageModel &languageModel(ModelHandle &model) {
  if (!model.language)
    throw Error("{} is no causal language model", model.name);
  return *model.language;
}

Chat::Chat(ModelHandle &model, const ChatRequest &request, Interrupts *interrupts,
           Streams streams)
    : model(model), request(request), interrupts(interrupts), streams(streams),
      material(model.text.value_or(TextMaterial{})), tokenizer(openTokenizer(material)),
      chatTemplate(openChatTemplate(material, tokenizer)), conversation(languageModel(model)),
      sampler(request.sampling), system(request.system) {}

/// Reads a message, which a backslash at the end of a line continues.
LineReader::Status Chat::readMessage(LineReader &input, std::string &message) {
  message.clear();
  std::string line;
  while (true) {
    if (request.interactive)
      streams.log << (message.empty() ? "> " : "| ") << std::flush;
    LineReader::Status status = input.read(line);
    // The end of the input ends a continued message, too.
    if (status == LineReader::Status::End && !message.empty())
      return LineReader::Status::Line;
    if (status != LineReader::Status::Line)
      return status;
    if (!line.ends_with('\\')) {
      message += line;
      return status;
    }
    line.back() = '\n';
    message += line;
  }
}

int Chat::run(LineReader &input) {
  if (request.interactive)
    note("loaded ", model.name, " in ", fmt::format("{:.2f}", model.loadSeconds),
         " s; /help lists the commands");
  std::string message;
  while (true) {
    LineReader::Status status = readMessage(input, message);
    if (status != LineReader::Status::Line) {
      if (request.interactive)
        note("");
      return status == LineReader::Status::End ? 0 : interruptedExitCode;
    }
    if (message.empty())
      continue;
    if (!message.starts_with('/'))
      attempt([&] { say(message); });
    else if (!obey(message))
      return 0;
    if (!streams.out)
      throw Error("cannot write the answer");
  }
}

/// Does what a command says; false when it ends the conversation.
bool Chat::obey(const std::string &line) {
  size_t space = std::min(line.find_first_of(" \n"), line.size());
  std::string name = line.substr(0, space);
  std::string rest = line.substr(std::min(space + 1, line.size()));
  if (name == "/exit" || name == "/quit")
    return false;
  if (name == "/help") {
    streams.log << helpText << std::flush;
  } else if (name == "/reset") {
    messages.clear();
    conversation.reset();
  } else if (name == "/system") {
    system = checkedUtf8(rest, streams.log);
  } else if (name == "/regenerate") {
    attempt([&] { regenerate(); });
  } else {
    note("unknown command '", name, "'; /help lists those there are, and a message that begins "
         "with / needs a space before it");
  }
  return true;
}

/// Takes a turn. A person sees what went wrong and may go on.
void Chat::attempt(const std::function<void()> &turn) {
  try {
    turn();
  } catch (const Error &error) {
    if (!request.interactive)
      throw;
    note("error: ", error.what());
  }
  if (interrupts)
    interrupts->clear();
}

void Chat::say(const std::string &message) {
  messages.push_back({"user", checkedUtf8(message, streams.log)});
  try {
    answer();
  } catch (...) {
    // As if it had not been said.
    messages.pop_back();
    throw;
  }
}

void Chat::regenerate() {
  if (messages.empty()) {
    note("there is no answer to make again");
    return;
  }
  ChatMessage last = std::move(messages.back());
  messages.pop_back();
  try {
    answer();
  } catch (...) {
    messages.push_back(std::move(last));
    throw;
  }
}

/// The ids of the whole conversation, up to where the answer begins.
std::vector<int64_t> Chat::promptIds() const {
  std::vector<ChatMessage> all;
  if (!system.empty())
    all.push_back({"system", system});
  all.insert(all.end(), messages.begin(), messages.end());
  std::string text = chatTemplate.render(all, /*addGenerationPrompt=*/true, tokenizer.bosToken(),
                                         tokenizer.eosToken());
  // A chat template writes the special tokens itself.
  std::vector<int64_t> ids = tokenizer.encode(text, /*addSpecialTokens=*/false);
  int64_t context = model.language->contextLength();
  if (int64_t(ids.size()) >= context)
    throw Error("the conversation has {} tokens and the context holds {}: /reset begins a new one; "
                "for longer ones start with a larger --ctx-size, as far as the model allows",
                ids.size(), context);
  return ids;
}

/// Generates, shows and keeps the answer to the messages.
void Chat::answer() {
  std::vector<int64_t> prompt = promptIds();
  sampler.setContext(prompt);
  GenerationLimits limits;
  limits.maxTokens = request.maxTokens;
  limits.chunk = request.chunk;
  limits.stopIds = material.eosIds;
  limits.sampler = &sampler;
  if (interrupts)
    limits.cancel = &interrupts->flag();
  AnswerText text(tokenizer, request.stopStrings);
  std::string whole;
  auto show = [&](std::string piece) {
    whole += piece;
    streams.out << piece << std::flush;
  };
  Generation result = conversation.generate(
      prompt, limits, [&](std::span<const float> logits) { return sampler.sample(logits); },
      [&](int64_t id) {
        show(text.push(id));
        return text.stopped() ? Next::Stop : Next::Continue;
      });
  show(text.finish());
  streams.out << "\n" << std::flush;
  messages.push_back({"assistant", whole});
  logTurn(result);
}

void Chat::logTurn(const Generation &result) {
  if (result.reason == StopReason::Context)
    note("the context of ", model.language->contextLength(),
         " tokens is full, and so the answer ends here: /reset begins a new conversation; for "
         "longer ones start with a larger --ctx-size, as far as the model allows");
  if (!request.timings)
    return;
  int64_t fresh = result.promptTokens - result.cachedTokens;
  note("prompt ", result.promptTokens, " tokens, ", result.cachedTokens, " of them in the cache, ",
       rate(fresh, result.promptSeconds), "; generated ", result.ids.size(), " tokens, ",
       rate(result.decodeSteps, result.decodeSeconds), " (", stopReasonText(result.reason), ")");
}

int rt::runChat(ModelHandle &model, const ChatRequest &request, LineReader &input,
                Interrupts *interrupts, Streams streams) {
  if (request.maxTokens < -1 || request.maxTokens == 0)
    throw Error("-n {}: expected a number of tokens, or -1 for no limit", request.maxTokens);
  return Chat(model, request, interrupts, streams).run(input);
}
