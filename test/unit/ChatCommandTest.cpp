//===- ChatCommandTest.cpp - Conversations with a model ---------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "TestPrograms.h"
#include "runtime/Commands.h"
#include "runtime/Error.h"
#include "runtime/LineReader.h"
#include "runtime/ProgramModel.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

/// The letters a to o are the ids 0 to 14. Users end with n, the model's turns with o.
constexpr const char *letterTemplate =
    "{% for m in messages %}{{ m.content }}{{ {'system': 'm', 'user': 'n', 'assistant': 'o'}"
    "[m.role] }}{% endfor %}";

std::string letterTokenizer() {
  nlohmann::json vocabulary;
  for (int i = 0; i < 16; ++i)
    vocabulary[std::string(1, char('a' + i))] = i;
  return nlohmann::json{
      {"model",
       {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}},
      {"decoder", {{"type", "Fuse"}}}}
      .dump();
}

program::ProgramT chatProgram(const std::string &chatTemplate = letterTemplate) {
  program::ProgramT source = languageProgram();
  source.text->tokenizer_json = letterTokenizer();
  source.text->chat_template = chatTemplate;
  return source;
}

/// What languageProgram() answers to the text, in letters.
std::string answerTo(std::string text, size_t count) {
  std::string answer;
  while (answer.size() < count) {
    int64_t sum = int64_t(text.size());
    for (char letter : text)
      sum += letter - 'a';
    answer += char('a' + sum % 16);
    text += answer.back();
  }
  return answer;
}

struct Outcome {
  std::string out, log, error;
  int code = -1;
};

/// Chats with `input` on a pipe.
Outcome chat(const std::string &input, ChatRequest request = {},
             const program::ProgramT &source = chatProgram(), int64_t context = 0) {
  OpenOptions options;
  options.device = {"cpu", 1};
  options.contextTokens = context;
  ModelHandle model = openProgram(LoadedProgram::fromBytes(pack(source), ""), options);
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  EXPECT_EQ(write(ends[1], input.data(), input.size()), ssize_t(input.size()));
  close(ends[1]);
  LineReader reader(ends[0], nullptr);
  std::ostringstream out, log;
  Outcome outcome;
  if (request.maxTokens < 0)
    request.maxTokens = 3;
  try {
    outcome.code = runChat(model, request, reader, nullptr, {out, log});
  } catch (const Error &error) {
    outcome.error = error.what();
  }
  close(ends[0]);
  outcome.out = out.str();
  outcome.log = log.str();
  return outcome;
}

TEST(ChatCommand, AnswersEachLine) {
  std::string first = answerTo("abn", 3), second = answerTo("abn" + first + "ocn", 3);
  Outcome outcome = chat("ab\n\nc\n");
  EXPECT_EQ(outcome.error, "");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, first + "\n" + second + "\n");
  // Nothing but answers when nobody looks on.
  EXPECT_EQ(outcome.log, "");
  // The last line needs no end, and lines may end as they do on Windows.
  EXPECT_EQ(chat("ab\r\nc").out, outcome.out);
}

TEST(ChatCommand, KeepsTheCache) {
  ChatRequest request;
  request.timings = true;
  std::string log = chat("ab\nc\n/regenerate\n", request).log;
  EXPECT_NE(log.find("prompt 3 tokens, 0 of them in the cache"), std::string::npos) << log;
  // "ab", its end, and two of the three letters of the answer, the last of which never ran.
  EXPECT_NE(log.find("prompt 9 tokens, 5 of them in the cache"), std::string::npos) << log;
  EXPECT_NE(log.find("prompt 9 tokens, 8 of them in the cache"), std::string::npos) << log;
  EXPECT_NE(log.find("generated 3 tokens, "), std::string::npos) << log;
}

/// A template that shows only the end of earlier answers, as those that strip thoughts do.
TEST(ChatCommand, FollowsTemplatesThatRewriteHistory) {
  ChatRequest request;
  request.timings = true;
  program::ProgramT source =
      chatProgram("{% for m in messages %}{{ m.content[-1:] if m.role == 'assistant' else "
                  "m.content }}n{% endfor %}");
  std::string first = answerTo("abn", 3);
  Outcome outcome = chat("ab\nc\n", request, source);
  EXPECT_EQ(outcome.out, first + "\n" + answerTo("abn" + first.substr(2) + "ncn", 3) + "\n");
  EXPECT_NE(outcome.log.find("prompt 7 tokens, "), std::string::npos) << outcome.log;
}

TEST(ChatCommand, ObeysCommands) {
  std::string first = answerTo("abn", 3), other = answerTo("cn", 3);
  EXPECT_EQ(chat("ab\n/reset\nc\n").out, first + "\n" + other + "\n");
  EXPECT_EQ(chat("ab\n/regenerate\n").out, first + "\n" + first + "\n");
  EXPECT_EQ(chat("ab\n/exit\nc\n").out, first + "\n");
  EXPECT_EQ(chat("ab\n/quit\nc\n").out, first + "\n");
  EXPECT_EQ(chat("/system de\nab\n").out, answerTo("demabn", 3) + "\n");
  EXPECT_EQ(chat("/system de\n/system\nab\n").out, first + "\n");
  Outcome help = chat("/help\n");
  EXPECT_EQ(help.out, "");
  EXPECT_NE(help.log.find("/regenerate"), std::string::npos);
  EXPECT_EQ(chat("/regenerate\n").log, "there is no answer to make again\n");
  EXPECT_EQ(chat("/frob\n").log,
            "unknown command '/frob'; /help lists those there are, and a message that begins with "
            "/ needs a space before it\n");
  ChatRequest request;
  request.system = "de";
  EXPECT_EQ(chat("ab\n", request).out, answerTo("demabn", 3) + "\n");
}

/// Regenerating draws anew, and what was said before stays.
TEST(ChatCommand, RegeneratesWithNewDraws) {
  ChatRequest request;
  request.sampling.temperature = 5;
  request.maxTokens = 12;
  std::istringstream lines(chat("ab\n/regenerate\n", request).out);
  std::string one, other;
  std::getline(lines, one);
  std::getline(lines, other);
  EXPECT_EQ(one.size(), 12u);
  EXPECT_EQ(other.size(), 12u);
  EXPECT_NE(one, other);
}

TEST(ChatCommand, ContinuesLinesAfterABackslash) {
  // The line end is no letter of this vocabulary.
  EXPECT_EQ(chat("a\\\nb\n").out, answerTo("abn", 3) + "\n");
  EXPECT_EQ(chat("a\\\nb\\").out, answerTo("abn", 3) + "\n");
}

TEST(ChatCommand, StopsAtStopStringsAndIds) {
  program::ProgramT source = chatProgram();
  std::string whole = answerTo("abn", 3);
  source.text->eos_ids = {whole[2] - 'a'};
  EXPECT_EQ(chat("ab\n", {}, source).out, whole.substr(0, 2) + "\n");
  ChatRequest request;
  request.stopStrings = {whole.substr(1, 2)};
  EXPECT_EQ(chat("ab\n", request).out, whole.substr(0, 1) + "\n");
}

TEST(ChatCommand, SaysThatTheContextIsFull) {
  ChatRequest person;
  person.interactive = true;
  // The third turn has no room; the answer to the second fills what is left.
  Outcome outcome = chat("ab\nc\nd\n/reset\nab\n", person, chatProgram(), 10);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.log.find("the context of 10 tokens is full, and so the answer ends here: "
                             "/reset begins a new conversation"),
            std::string::npos)
      << outcome.log;
  EXPECT_NE(outcome.log.find("error: the conversation has 14 tokens and the context holds 10: "
                             "/reset begins a new one"),
            std::string::npos)
      << outcome.log;
  // It goes on after that.
  EXPECT_TRUE(outcome.out.ends_with("\n" + answerTo("abn", 3) + "\n")) << outcome.out;
  // A script has to notice.
  EXPECT_TRUE(chat("abcdefghij\n", {}, chatProgram(), 10)
                  .error.starts_with("the conversation has 11 tokens and the context holds 10"));
}

/// A turn that fails is as if it had not been.
TEST(ChatCommand, GoesOnAfterAnErrorOfTheTemplate) {
  ChatRequest person;
  person.interactive = true;
  program::ProgramT source =
      chatProgram("{% for m in messages %}{% if 'p' in m.content %}{{ raise_exception('no p') }}"
                  "{% endif %}{{ m.content }}n{% endfor %}");
  std::string first = answerTo("abn", 3);
  Outcome outcome = chat("ab\np\nc\n", person, source);
  EXPECT_NE(outcome.log.find("error: chat template, line 1: no p\n"), std::string::npos)
      << outcome.log;
  EXPECT_EQ(outcome.out, first + "\n" + answerTo("abn" + first + "ncn", 3) + "\n");
  EXPECT_EQ(chat("p\n", {}, source).error, "chat template, line 1: no p");
}

TEST(ChatCommand, ShowsAPersonPrompts) {
  ChatRequest person;
  person.interactive = true;
  Outcome outcome = chat("a\\\nb\n", person);
  EXPECT_TRUE(outcome.log.starts_with("loaded sum in ")) << outcome.log;
  EXPECT_TRUE(outcome.log.ends_with("/help lists the commands\n> | > \n")) << outcome.log;
  EXPECT_EQ(outcome.out, answerTo("abn", 3) + "\n");
}

TEST(ChatCommand, SaysWhatIsMissing) {
  EXPECT_EQ(chat("a\n", {}, chatProgram("")).error,
            "the model has no chat template, so how a conversation is written for it is not "
            "known; use generate");
  EXPECT_EQ(chat("a\n", {}, languageProgram()).error,
            "the model has no tokenizer (tokenizer.json)");
  ChatRequest request;
  request.maxTokens = 0;
  EXPECT_EQ(chat("a\n", request).error,
            "-n 0: expected a number of tokens, or -1 for no limit");
}

TEST(LineReader, SaysWhatCannotBeRead) {
  int folder = open("/", O_RDONLY);
  LineReader reader(folder, nullptr);
  std::string line;
  try {
    reader.read(line);
    FAIL();
  } catch (const Error &error) {
    EXPECT_STREQ(error.what(), "cannot read the input: Is a directory");
  }
  close(folder);
}

TEST(LineReader, EndsWhenInterrupted) {
  Interrupts &interrupts = Interrupts::watch();
  interrupts.clear();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  LineReader reader(ends[0], &interrupts);
  ASSERT_EQ(write(ends[1], "a\nb", 3), 3);
  std::string line;
  EXPECT_EQ(reader.read(line), LineReader::Status::Line);
  EXPECT_EQ(line, "a");
  EXPECT_FALSE(interrupts.flag());
  raise(SIGINT);
  EXPECT_TRUE(interrupts.flag());
  EXPECT_EQ(reader.read(line), LineReader::Status::Interrupted);
  interrupts.clear();
  EXPECT_FALSE(interrupts.flag());
  close(ends[1]);
  EXPECT_EQ(reader.read(line), LineReader::Status::Line);
  EXPECT_EQ(line, "b");
  EXPECT_EQ(reader.read(line), LineReader::Status::End);
  close(ends[0]);
  signal(SIGINT, SIG_DFL);
}

} // namespace
