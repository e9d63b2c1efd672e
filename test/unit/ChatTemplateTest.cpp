//===- ChatTemplateTest.cpp - Tests of ChatTemplate -----------------------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "runtime/ChatTemplate.h"
#include "runtime/Error.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace mlsys::rt;
using Json = nlohmann::ordered_json;

static Json loadCases() {
  std::ifstream file(MLSYS_TEST_DATA "/chat/cases.json");
  EXPECT_TRUE(file.good());
  return Json::parse(file);
}

static std::string render(const std::string &source,
                          const std::string &variables = "{}") {
  return ChatTemplate::parse(source).renderJson(variables);
}

static std::string failure(const std::string &source,
                           const std::string &variables = "{}") {
  try {
    return "no error: " + render(source, variables);
  } catch (const Error &error) {
    return error.what();
  }
}

TEST(ChatTemplateTest, rendersAsPythonDoes) {
  Json data = loadCases();
  std::time_t now = data["now"].get<std::time_t>();
  int rendered = 0, failed = 0;
  for (const Json &entry : data["cases"]) {
    std::string source =
        entry.contains("template")
            ? data["templates"][entry["template"].get<std::string>()]
            : entry["source"];
    std::string variables = entry["variables"].dump();
    if (entry.contains("error")) {
      EXPECT_THROW(ChatTemplate::parse(source).renderJson(variables, now),
                   Error)
          << source << "\n"
          << variables;
      ++failed;
      continue;
    }
    try {
      EXPECT_EQ(ChatTemplate::parse(source).renderJson(variables, now),
                entry["expected"].get<std::string>())
          << source;
    } catch (const std::exception &error) {
      ADD_FAILURE() << error.what() << "\n" << source << "\n" << variables;
    }
    ++rendered;
  }
  EXPECT_GT(rendered, 200);
  EXPECT_GT(failed, 80);
}

TEST(ChatTemplateTest, rendersMessages) {
  Json data = loadCases();
  ChatTemplate chat = ChatTemplate::parse(data["templates"]["smollm2.jinja"]);
  std::vector<ChatMessage> messages = {{"user", "Hi"}};
  EXPECT_EQ(chat.render(messages, true, "", ""),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
            "trained by "
            "Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\n");
  messages.insert(messages.begin(), {"system", "Be brief."});
  EXPECT_EQ(chat.render(messages, false, "", ""),
            "<|im_start|>system\nBe "
            "brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
  ChatTemplate tokens = ChatTemplate::parse(
      "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
      "{{ add_generation_prompt }}{{ tools }}{{ documents }}");
  EXPECT_EQ(tokens.render(messages, true, "<s>", "</s>"),
            "<s>Be brief.</s>TrueNoneNone");
}

TEST(ChatTemplateTest, repairsMessages) {
  std::vector<ChatMessage> messages = {{"user", "a\xFF"}};
  EXPECT_EQ(ChatTemplate::parse("{{ messages[0].content }}")
                .render(messages, false, "", ""),
            "a\uFFFD");
}

TEST(ChatTemplateTest, tellsTheTime) {
  ChatTemplate clock =
      ChatTemplate::parse("{{ strftime_now('%Y-%m-%d %H:%M') }}");
  EXPECT_EQ(clock.renderJson("{}", 0), "1970-01-01 00:00");
  EXPECT_EQ(clock.renderJson("{}").size(), 16u);
  EXPECT_EQ(render("{{ strftime_now('') }}"), "");
}

TEST(ChatTemplateTest, errorsNameTheLine) {
  EXPECT_EQ(failure("a\n{% if true %}\n{{ missing.x }}{% endif %}"),
            "chat template, line 3: 'missing' is undefined");
  EXPECT_EQ(failure("\n\n{% include 'x' %}"),
            "chat template, line 3: the statement 'include' is not supported; "
            "supported are if, for, set, macro, call, filter, with, block, print, "
            "break, continue, generation and raw");
  EXPECT_EQ(failure("{{ raise_exception('Roles must alternate') }}"),
            "chat template, line 1: Roles must alternate");
  EXPECT_EQ(failure("{{ 1\n+ }}"),
            "chat template, line 2: expected a value but found '}}'");
  EXPECT_EQ(failure("x\n{% for a in [1] %}"),
            "chat template, line 2: 'endfor' is missing");
  EXPECT_EQ(failure("{% endif %}"),
            "chat template, line 1: 'endif' closes nothing");
  EXPECT_NE(failure("{{ 1|random }}")
                .find("the filter 'random' is not supported; "
                      "supported are abs, attr, batch, capitalize"),
            std::string::npos);
  EXPECT_NE(failure("{{ 1 is nothing }}")
                .find("the test 'nothing' is not supported; "
                      "supported are !=, <"),
            std::string::npos);
}

TEST(ChatTemplateTest, workIsBounded) {
  std::string endless = "{% set ns = namespace(s='xxxxxxxx') %}";
  for (int i = 0; i < 60; ++i)
    endless += "{% set ns.s = ns.s ~ ns.s %}";
  EXPECT_NE(failure(endless).find("more work than is allowed"),
            std::string::npos);
  EXPECT_NE(
      failure(
          "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
          "{% endfor %}")
          .find("more work than is allowed"),
      std::string::npos);
  // Each way to make much of little.
  for (const char *source :
       {"{{ [0] * 9999999999 }}", "{{ 'x'.ljust(9999999999) }}", "{{ 'x'|center(9999999999) }}",
        "{{ 'x'.zfill(9999999999) }}", "{{ '\t'.expandtabs(9999999999) }}",
        "{{ [1]|batch(9999999999, 0)|list }}", "{{ [1]|slice(9999999999)|list }}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}"
        "{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}"
        "{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% endfor %}",
        "{% set ns = namespace(s='xx') %}{% for i in range(60) %}"
        "{% set ns.s = '{0}{0}'.format(ns.s) %}{% endfor %}",
        "{% macro m(x) %}{{ m(x ~ x) if x|length < 9999999999 }}{% endmacro %}{{ m('xx') }}"})
    EXPECT_NE(failure(source).find("the template"), std::string::npos)
        << source << "\n" << failure(source);
  EXPECT_NE(failure("{{ '%9999999999d' % 1 }}").find("a width or precision that is too large"),
            std::string::npos);
  EXPECT_NE(failure("{{ '{:9999999999}'.format(1) }}").find("a width or precision"),
            std::string::npos);
  EXPECT_NE(failure("{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}").find("too deep"),
            std::string::npos);
  EXPECT_NE(failure("{{ 'x' * 9999999999 }}").find("more work than is allowed"),
            std::string::npos);
  EXPECT_NE(failure("{{ range(100001) }}").find("more than 100000 items"),
            std::string::npos);
  EXPECT_NE(failure("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")
                .find("too deep"),
            std::string::npos);
  EXPECT_NE(failure("{{ " + std::string(5000, '(') + " }}").find("too deep"),
            std::string::npos);
  std::string chain = "{{ 1";
  for (int i = 0; i < 5000; ++i)
    chain += " ~ 1";
  EXPECT_NE(failure(chain + " }}").find("too long"), std::string::npos);
  std::string blocks;
  for (int i = 0; i < 5000; ++i)
    blocks += "{% if 1 %}";
  EXPECT_NE(failure(blocks).find("too deep"), std::string::npos);
  EXPECT_NE(failure(std::string(2 << 20, ' ')).find("at most"),
            std::string::npos);
  EXPECT_EQ(failure("{% set n = namespace() %}{% set n.n = n %}{{ n }}"),
            "chat template, line 1: values nest more than 200 deep");
}

/// What keeps itself alive has to be let go: the leak checker of a sanitizer build looks.
TEST(ChatTemplateTest, cyclesEnd) {
  EXPECT_EQ(render("{% macro m() %}{{ n.m.name }}{% endmacro %}{% set n = namespace(m=m) %}"
                   "{% set n.n = n %}{{ m() }}"),
            "m");
  EXPECT_EQ(render("{% for i in [1] %}{% macro m() %}{{ i }}{% endmacro %}{% set k = m %}{{ k() }}"
                   "{% endfor %}"),
            "1");
  EXPECT_EQ(render("{% set n = namespace() %}{% for i in [1, [2]] recursive %}{% set n.loop = loop %}"
                   "{{ i if i is number else loop(i) }}{% endfor %}"),
            "12");
  EXPECT_EQ(render("{% set c = cycler(1, 2) %}{% set d = cycler(c) %}{{ c.next() }}{{ c.next() }}"),
            "12");
}

/// Values that hold each other a hundred thousand deep are let go one after another.
TEST(ChatTemplateTest, deepValuesEnd) {
  for (const char *next : {"[n.v]", "{'a': n.v}", "cycler(n.v)", "[n.v].index"})
    EXPECT_EQ(render("{% set n = namespace(v=1) %}{% for i in range(90000) %}{% set n.v = " +
                     std::string(next) + " %}{% endfor %}x"),
              "x")
        << next;
}

TEST(ChatTemplateTest, numbersStayInBounds) {
  for (const char *source :
       {"{{ 9223372036854775807 + 1 }}", "{{ 2 ** 64 }}",
        "{{ 9223372036854775807 * 2 }}", "{{ 99999999999999999999 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}"})
    EXPECT_NE(failure(source).find("too large"), std::string::npos) << source;
  EXPECT_EQ(
      render("{{ (-9223372036854775807 - 1) % -1 }} {{ (-1) ** 1000001 }} "
             "{{ 0 ** 0 }} {{ 1 ** 999999999999 }}"),
      "0 -1 1 1");
}

TEST(ChatTemplateTest, variablesAreChecked) {
  EXPECT_NE(failure("", "{").find("are not JSON"), std::string::npos);
  EXPECT_NE(failure("", "[]").find("must be a JSON object"), std::string::npos);
  std::string deep;
  for (int i = 0; i < 1000; ++i)
    deep += "{\"a\":";
  EXPECT_NE(
      failure("", deep + "1" + std::string(1000, '}')).find("nest more than"),
      std::string::npos);
  EXPECT_NE(failure("", R"({"a": 18446744073709551615})").find("too large"),
            std::string::npos);
}

TEST(ChatTemplateTest, invalidUtf8IsAnError) {
  EXPECT_EQ(failure("a\xFF"), "the chat template is not UTF-8");
}
