//===- ChatTemplateErrorsTest.cpp - What chat templates may not do --------===//
//
// Part of mlsys, under the Apache License v2.0. See LICENSE.
//
//===----------------------------------------------------------------------===//
#include "test/support/TempFolder.h"
#include "runtime/ChatTemplate.h"
#include "runtime/Error.h"

using namespace mlsys::rt;

namespace {

struct Case {
  std::string source;
  const char *message;
};

void expectErrors(std::initializer_list<Case> cases) {
  for (const Case &test : cases)
    EXPECT_ERROR(ChatTemplate::parse(test.source).renderJson("{}", 0), test.message);
}

TEST(ChatTemplateErrors, Lexer) {
  expectErrors({
      {"{# never closed", "a comment has no end"},
      {"{% raw x%}{% endraw %}", "raw takes nothing more"},
      {"{% raw %} text", "a raw block has no end"},
      {"{% raw %} text {% endraw x%}", "endraw takes nothing more"},
      {"{{ '\\x1' }}", "a string has a broken escape"},
      {"{{ '\\uD800' }}", "a string has an escape that is no character"},
      {"{{ 'abc }}", "a string has no end"},
      {"{{ '\\101' }}", "octal and named escapes in strings are not supported"},
      {"{{ a ? b }}", "the character '?' is not expected here"},
      {"{{ " + std::string(5000, '[') + " }}", "brackets nest too deep"},
      {"{{ 1", "a tag has no '}}'"},
      {"{% if 1", "a tag has no '%}'"},
      {std::string(2 << 20, ' '), "the chat template has 2097152 bytes; at most"},
  });
}

TEST(ChatTemplateErrors, Parser) {
  expectErrors({
      {"{{ range(1; 2) }}", "the character ';' is not expected here"},
      {"{{ range(1 2) }}", "expected ',' but found"},
      {"{{ {1 2} }}", "expected ':' but found"},
      {"{% for x of [1] %}{% endfor %}", "expected 'in' but found"},
      {"{% if true 1 %}{% endif %}", "expected '%}' but found"},
      {"{{ 1 2 }}", "expected '}}' but found"},
      {"{{ [1][1:2:3:4] }}", "a slice has too many colons"},
      {"{{ [1][1 2] }}", "expected ']' but found"},
      {"{{ range(stop=1, 2) }}", "a plain argument follows a named one"},
  });
  std::string sum = "{{ 1";
  for (int i = 0; i < 5000; ++i)
    sum += " + 1";
  expectErrors({{sum + " }}", "an expression is too long"}});
}

TEST(ChatTemplateErrors, Statements) {
  expectErrors({
      {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "the template nests too deep"},
      {"{% macro m() %}{% break %}{% endmacro %}{% for x in [1] %}{{ m() }}{% endfor %}",
       "break and continue stand in loops only"},
      {"{% for a, b in [[1, 2, 3]] %}{% endfor %}", "2 names cannot take 3 values"},
      {"{% set x = {} %}{% set x.y = 1 %}", "'x' is not a namespace, so 'x.y' cannot be set"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "the macro 'm' takes 1 arguments"},
      {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "the macro 'm' has no parameter 'b'"},
  });
}

TEST(ChatTemplateErrors, Expressions) {
  expectErrors({
      {"{{ {[1]: 2} }}", "a key must be a str or a number, not"},
      {"{{ (1)() }}", "int cannot be called"},
      {"{{ 1 + 'a' }}", "int + str is not possible"},
      {"{{ [] - 1 }}", "list - int is not possible"},
      {"{{ range(200000) }}", "range gives more than 100000 items"},
      {"{{ dict(1) }}", "dict and namespace take a dict, not int"},
      {"{{ (1)[0:1] }}", "int cannot be sliced"},
      {"{{ [1][::0] }}", "a slice's step cannot be zero"},
      {"{{ 1 in 'abc' }}", "'in' of a str needs a str, not int"},
      {"{{ range('a') }}", "must be an integer, not str"},
      {"{{ ['a', 'b']|sum }}", "an item of sum must be an integer, not str"},
      {"{{ -'a' }}", "the operand of a sign must be an integer, not str"},
  });
}

TEST(ChatTemplateErrors, FiltersAndMethods) {
  expectErrors({
      {"{{ 'a'|tojson(frobnicate=1) }}", "tojson does not support 'frobnicate'"},
      {"{{ 'a'|tojson(ensure_ascii=true) }}", "tojson does not support ensure_ascii"},
      {"{{ range|tojson }}", "cannot be written as JSON"},
      {"{{ [{'a': 1}]|map(attribute=1.5)|list }}", "an attribute must be a str, not"},
      {"{{ [1]|map(1)|list }}", "map needs the name of a filter, not int"},
      {"{{ [1]|select(1)|list }}", "select needs the name of a test, not int"},
      {"{{ 1|items }}", "items needs a dict, not int"},
      {"{{ 1|length }}", "int has no length"},
      {"{{ (-9223372036854775807 - 1)|abs }}", "a number is too large"},
      {"{{ 'a'.strip(1) }}", "strip needs a str, not int"},
      {"{{ 'a'.replace('', 'b') }}", "replace of an empty str is not supported"},
      {"{{ 'a'.startswith(1) }}", "startswith and endswith need a str, not int"},
      {"{{ 'a'.find(1) }}", "find needs a str, not int"},
      {"{{ 'a'.count('') }}", "count of an empty str is not supported"},
      {"{{ [1].index(2) }}", "2 is not in the list"},
      {"{{ [1].append(2) }}", "'append' would change a list, which templates cannot do"},
      {"{{ {}.update({}) }}", "'update' would change a dict, which templates cannot do"},
      {"{% for x in [1] %}{{ loop.cycle() }}{% endfor %}", "cycle needs values"},
      {"{{ strftime_now(1) }}", "strftime_now needs a str, not int"},
  });
}

} // namespace
