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
      {"{{ ['a', 'b']|sum }}", "an item of sum must be a number, not str"},
      {"{{ -'a' }}", "the operand of a sign must be an integer, not str"},
  });
}

TEST(ChatTemplateErrors, FiltersAndMethods) {
  expectErrors({
      {"{{ 'a'|tojson(frobnicate=1) }}", "tojson does not support 'frobnicate'"},
      {"{{ range|tojson }}", "cannot be written as JSON"},
      {"{{ [{'a': 1}]|map(attribute=1.5)|list }}", "an attribute must be a str, not"},
      {"{{ [1]|map(1)|list }}", "map needs the name of a filter, not int"},
      {"{{ [1]|select(1)|list }}", "select needs the name of a test, not int"},
      {"{{ 1|items }}", "items needs a dict, not int"},
      {"{{ 1|length }}", "int has no length"},
      {"{{ (-9223372036854775807 - 1)|abs }}", "a number is too large"},
      {"{{ 'a'.strip(1) }}", "strip needs a str, not int"},
      {"{{ 'a'.startswith(1) }}", "startswith and endswith need a str, not int"},
      {"{{ 'a'.find(1) }}", "find needs a str as 'sub', not int"},
      {"{{ [1].index(2) }}", "2 is not in the list"},
      {"{{ [1].append(2) }}", "'append' would change a list, which templates cannot do"},
      {"{{ {}.update({}) }}", "'update' would change a dict, which templates cannot do"},
      {"{% for x in [1] %}{{ loop.cycle() }}{% endfor %}", "cycle needs values"},
      {"{{ strftime_now(1) }}", "strftime_now needs a str, not int"},
  });
}

TEST(ChatTemplateErrors, Formats) {
  expectErrors({
      {"{{ '%s %s' % 1 }}", "the format needs more values than there are"},
      {"{{ '%s' % (1, 2) }}", "the format does not take all values"},
      {"{{ '%(a)s' % 1 }}", "a format with names needs a dict, not int"},
      {"{{ '%(a)s' % {} }}", "the format's dict has no key 'a'"},
      {"{{ '%(a' % {} }}", "a format has no ')'"},
      {"{{ '%d' % 'a' }}", "%d needs a number, not str"},
      {"{{ '%q' % 1 }}", "a format has the type 'q', which there is not"},
      {"{{ '{:d}'.format(1.5) }}", "the format 'd' is for integers, not for float"},
      {"{{ '{:d}'.format('a') }}", "the format 'd' is not for str"},
      {"{{ '{:!}'.format('a') }}", "the format '!' is not supported"},
      {"{{ '{0[a}'.format({}) }}", "a format has no ']'"},
      {"{{ '{:{:{:{}}}}'.format(1, 2, 3, 4) }}", "fields of a format nest too deep"},
      {"{{ '{'.format() }}", "a format has a '{' that nothing closes"},
      {"{{ '}'.format() }}", "a format has a '}' that closes nothing"},
      {"{{ '{x}'.format(1) }}", "the format has no value for '{x}'"},
      {"{{ 'a'|format(1, b=2) }}", "format takes values or names, not both"},
  });
}

TEST(ChatTemplateErrors, CallsAndBlocks) {
  expectErrors({
      {"{{ dict([[1]]) }}", "dict needs pairs, not 1 items"},
      {"{{ cycler() }}", "cycler needs values"},
      {"{{ range(**[1]) }}", "** needs a dict, not list"},
      {"{{ range(**{1: 2}) }}", "** needs keys that are str, not int"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "a parameter without a default follows one with"},
      {"{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}", "the macro 'm' is given 'a' twice"},
      {"{% call 1 %}{% endcall %}", "a call block needs a call"},
      {"{% for x in [1] %}{{ loop([2]) }}{% endfor %}", "loop cannot be called"},
      {"{{ 0x }}", "a number has no digits"},
  });
}

TEST(ChatTemplateErrors, FilterArguments) {
  expectErrors({
      {"{{ {(1, 2): 3}|tojson }}", "a key must be a str or a number, not tuple"},
      {"{{ dict([[[1], 2]])|tojson }}", "tojson: a key must be a string or a number, not list"},
      {"{{ 1|tojson(separators=[1]) }}", "tojson: the separators must be two str"},
      {"{{ 1|dictsort }}", "dictsort needs a dict, not int"},
      {"{{ {}|dictsort(by='x') }}", "dictsort sorts by key or value, not by x"},
      {"{{ [1]|map(frob=1)|list }}", "map does not support 'frob'"},
      {"{{ [1]|selectattr|list }}", "selectattr needs the name of an attribute"},
      {"{{ [1]|batch(0)|list }}", "batch needs a count of at least 1, not 0"},
      {"{{ [1]|slice(0)|list }}", "slice needs a count of at least 1, not 0"},
      {"{{ [1]|map('upper')|last }}", "last needs a list; put |list before it"},
      {"{{ 'abc'|truncate(1) }}", "truncate: expected a length of at least 3"},
      {"{{ 'abc'|wordwrap(0) }}", "wordwrap: the width must be above 0, not 0"},
      {"{{ 1|xmlattr }}", "xmlattr needs a dict, not int"},
      {"{{ {'a b': 1}|xmlattr }}", "xmlattr: 'a b' is no name of an attribute"},
      {"{{ [[1]]|urlencode }}", "urlencode needs pairs, not 1 items"},
      {"{{ 1|round(method='up') }}", "round: the method must be common, ceil or floor, not up"},
      {"{{ 'x'|round }}", "round must be a number, not str"},
      {"{{ 'abc'.partition('') }}", "partition needs a separator that is not empty"},
      {"{{ 'abc'.center(9, 'xy') }}", "center fills with one character"},
      {"{{ 'abc'.index('x') }}", "the text does not hold 'x'"},
      {"{{ 'a'.join([1]) }}", "join needs items that are str, not int"},
  });
}

} // namespace
