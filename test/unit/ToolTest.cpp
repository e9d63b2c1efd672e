//===- ToolTest.cpp - mlsys-run as a process --------------------*- C++ -*-===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "TestPrograms.h"
#include "test/support/Process.h"
#include "runtime/Program.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/wait.h>
#include <unistd.h>

using namespace mlsys;
using namespace mlsys::rt;
using namespace mlsys::test;

namespace {

/// Runs mlsys-run with a shell's words; standard error goes into the output.
Outcome run(const std::string &arguments) {
  return runShell(std::string(MLSYS_RUN) + " " + arguments);
}

TEST(Tool, GeneratesFromAFile) {
  TempFolder folder;
  writeProgramFile(folder / "m.mlsys", pack(languageProgram()));
  Outcome outcome = run("generate " + (folder / "m.mlsys") +
                        " --prompt-ids 1,2 --ids -n 3 --device cpu -t 1");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(outcome.output.starts_with("5 11 7\n")) << outcome.output;
}

TEST(Tool, SaysWhatIsWrongAndFails) {
  TempFolder folder;
  std::string file = folder / "m.mlsys", broken = folder / "broken.mlsys";
  writeProgramFile(file, pack(languageProgram()));
  std::ofstream(broken) << std::ifstream(file).rdbuf();
  std::filesystem::resize_file(broken, std::filesystem::file_size(broken) / 2);
  struct Case {
    std::string arguments, expected;
  };
  const Case cases[] = {
      {"generate /nonexistent", "error: cannot open '/nonexistent': No such file or directory\n"},
      {"generate " + folder.path(), "is a folder, not a compiled model"},
      {"inspect " + broken, "is damaged: its end is missing; compile the model again\n"},
      {"generate " + file + " --frobnicate", "--frobnicate"},
      {"generate " + file + " --device toaster", "toaster is no device; expected auto|cpu|cuda|host-cuda or cuda:N"},
      {"generate " + file + " --device host-cuda", "was compiled for cpu, not for cuda"},
      {"generate " + file + " --dtype bf16 -p a", "was compiled for f32"},
      {"generate " + file + " --prompt-ids a", "expected token ids, found 'a'"},
      {"generate " + file + " --prompt-ids 1 --ids -c 100", "--ctx-size 100"},
      {"generate " + file + " --prompt-ids 1 --ids -n -2", "-n"},
      {"generate " + file + " -f /nonexistent", "cannot open '/nonexistent'"},
      {"run " + file + " --input input_ids=/nonexistent.npy --output-dir " + (folder / "o"),
       "/nonexistent.npy"},
      {"inspect " + file + " --symbol T", "--symbol T: expected NAME=NUMBER"},
      {"bench " + file + " -p 100", "pp100 needs a context of 100 tokens"},
      {"bench " + file + " -r 0", "-r 0: expected at least one repetition"},
      {"", "subcommand is required"},
  };
  for (const Case &test : cases) {
    Outcome outcome = run(test.arguments);
    EXPECT_GT(outcome.code, 0) << test.arguments;
    EXPECT_NE(outcome.output.find(test.expected), std::string::npos)
        << test.arguments << "\n" << outcome.output;
  }
}

TEST(Tool, ReportsAFullDisk) {
  TempFolder folder;
  writeProgramFile(folder / "m.mlsys", pack(languageProgram()));
  Outcome outcome = run("generate " + (folder / "m.mlsys") +
                        " --prompt-ids 1,2 --ids -n 3 --device cpu -t 1 2>&1 >/dev/full");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.output.find("error: cannot write"), std::string::npos) << outcome.output;
}

/// A model slow enough to be interrupted.
TEST(Tool, StopsCleanlyAtCtrlC) {
  TempFolder folder;
  program::ProgramT source = languageProgram(1 << 20);
  std::string code = "#include <unistd.h>\n"
                     "void write_cache(void) {}\nvoid plain(void) {}\n"
                     "void next_token(void *const *b) {\n"
                     "  usleep(20000);\n"
                     "  for (int i = 0; i < 16; ++i)\n"
                     "    ((float *)b[3])[i] = i == 1;\n"
                     "}\n";
  source.targets[0]->cpu_libraries[0]->data = compileC(code);
  writeProgramFile(folder / "m.mlsys", pack(source));
  std::string outPath = folder / "out";
  pid_t child = fork();
  if (child == 0) {
    if (!freopen(outPath.c_str(), "w", stdout) || !freopen("/dev/null", "w", stderr))
      _exit(99);
    std::string file = folder / "m.mlsys";
    execl(MLSYS_RUN, MLSYS_RUN, "generate", file.c_str(), "--prompt-ids", "1", "--ids", "-n", "-1",
          "--device", "cpu", "-t", "1", static_cast<char *>(nullptr));
    _exit(98);
  }
  auto size = [&] {
    std::error_code error;
    auto bytes = std::filesystem::file_size(outPath, error);
    return error ? 0 : bytes;
  };
  for (int i = 0; i < 3000 && size() == 0; ++i)
    usleep(10000);
  kill(child, SIGINT);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  std::ifstream file(outPath);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(text.ends_with("\n")) << text;
}

/// mlsys-run chat with pipes at its standard input and output.
class ChatProcess {
public:
  explicit ChatProcess(const std::string &file) {
    int in[2], out[2];
    EXPECT_EQ(pipe(in), 0);
    EXPECT_EQ(pipe(out), 0);
    child = fork();
    if (child == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      for (int end : {in[0], in[1], out[0], out[1]})
        close(end);
      if (!freopen("/dev/null", "w", stderr))
        _exit(99);
      execl(MLSYS_RUN, MLSYS_RUN, "chat", file.c_str(), "--device", "cpu", "-t", "1",
            static_cast<char *>(nullptr));
      _exit(98);
    }
    close(in[0]);
    close(out[1]);
    input = in[1];
    output = out[0];
  }
  ~ChatProcess() {
    close(output);
    if (input >= 0)
      close(input);
  }
  void say(const std::string &text) {
    EXPECT_EQ(write(input, text.data(), text.size()), ssize_t(text.size()));
  }
  /// Reads up to and with `last`, or to the end.
  std::string readTo(char last) {
    std::string text;
    for (char c; !text.ends_with(last) && read(output, &c, 1) == 1;)
      text += c;
    return text;
  }
  void interrupt() { kill(child, SIGINT); }
  void closeInput() { close(std::exchange(input, -1)); }
  int wait() {
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

private:
  pid_t child;
  int input, output;
};

/// Writes a model that answers with "bbb..." without an end, slowly.
std::string writeEndlessModel(const TempFolder &folder) {
  program::ProgramT source = languageProgram(1 << 20);
  std::string code = "#include <unistd.h>\n"
                     "void write_cache(void) {}\nvoid plain(void) {}\n"
                     "void next_token(void *const *b) {\n"
                     "  usleep(5000);\n"
                     "  for (int i = 0; i < 16; ++i)\n"
                     "    ((float *)b[3])[i] = i == 1;\n"
                     "}\n";
  source.targets[0]->cpu_libraries[0]->data = compileC(code);
  source.text->tokenizer_json =
      R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
          "decoder": {"type": "Fuse"}})";
  source.text->chat_template = "{% for m in messages %}{{ m.content }}a{% endfor %}";
  std::string file = folder / "m.mlsys";
  writeProgramFile(file, pack(source));
  return file;
}

TEST(Tool, ChatGoesOnAfterCtrlC) {
  TempFolder folder;
  ChatProcess chat(writeEndlessModel(folder));
  for (int turn = 0; turn < 3; ++turn) {
    chat.say("a\n");
    EXPECT_EQ(chat.readTo('b'), "b");
    chat.interrupt();
    std::string rest = chat.readTo('\n');
    EXPECT_EQ(rest.find_first_not_of('b'), rest.size() - 1) << rest;
  }
  // It waits now, and ends when interrupted.
  usleep(300000);
  chat.interrupt();
  EXPECT_EQ(chat.wait(), 130);
  EXPECT_EQ(chat.readTo('\n'), "");
}

TEST(Tool, ChatEndsWithItsInput) {
  TempFolder folder;
  ChatProcess chat(writeEndlessModel(folder));
  chat.say("a\n");
  EXPECT_EQ(chat.readTo('b'), "b");
  chat.interrupt();
  EXPECT_TRUE(chat.readTo('\n').ends_with("\n"));
  chat.closeInput();
  EXPECT_EQ(chat.wait(), 0);
}

} // namespace
