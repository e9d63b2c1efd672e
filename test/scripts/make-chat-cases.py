#!/usr/bin/env python3
"""Writes test/data/chat/cases.json: chat templates, variables, and what Python's
jinja2 renders, in the environment that Hugging Face transformers sets up.

Needs jinja2 (made with 3.1). Usage: make-chat-cases.py TEMPLATE_FOLDER OUTPUT
"""
import datetime
import json
import pathlib
import sys

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = 1721952000  # 26 Jul 2024, UTC


class Generation(Extension):
    """The tag around the assistant's words, which writes them as they are."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.Scope(body, lineno=line)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                      separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise TemplateError(message)


def strftime_now(form):
    return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)


def environment():
    result = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    result.filters["tojson"] = to_json
    result.globals["raise_exception"] = raise_exception
    result.globals["strftime_now"] = strftime_now
    return result


def message(role, content, **more):
    return {"role": role, "content": content, **more}


TALKS = {
    "question": [message("user", "What is the capital of France?")],
    "system": [message("system", "  Be brief.\n"), message("user", " Hi \n")],
    "turns": [message("user", "1+1?"), message("assistant", "2"), message("user", "And 2+2?"),
              message("assistant", "4 \n"), message("user", "\u4f60\u597d \U0001f600 <b>\"q\"</b>")],
    "nothing": [],
}

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather \u2014 \"now\"",
    "parameters": {"type": "object", "required": ["city"], "limits": [1, 2.5, None, True, {}, []],
                   "properties": {"city": {"type": "string"}}}}}]

TOOL_TALK = [
    message("system", "Use tools."),
    message("user", "Weather in Paris?"),
    {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "get_weather",
                                          "arguments": {"city": "Paris", "days": "2"}}}]},
    message("tool", {"celsius": 21.5, "sky": ["clear", "blue"]}),
    message("assistant", "It is 21.5 degrees."),
]

# One expression or snippet each, for what Python and Jinja do in detail.
SNIPPETS = [
    "{{ 1 }} {{ -1.5 }} {{ 1e3 }} {{ 1e16 }} {{ 1e-5 }} {{ 0.1 + 0.2 }} {{ 1_000 }} {{ 100000.0 }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 6 / 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}",
    "{{ true }} {{ none }} {{ [1, 'a', none, true, 1.0] }} {{ {'a': 1, 'b': [2]} }} {{ (1, 2) }} {{ (1,) }} {{ () }}",
    "{{ 'it\\'s' }} {{ ['it\\'s', 'say \"x\"', 'both \\' \"', 'n\\nt\\t\\\\'] }}",
    "{{ 'a' 'b' ~ 1 ~ none ~ true ~ 1.5 }} {{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ [1] + [2] }} {{ (1,) + (2,) }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 != 2 }} {{ 2 >= 2 }}",
    "{{ 1 in [1, 2] }} {{ 3 not in [1, 2] }} {{ 'b' in 'abc' }} {{ 'k' in {'k': 1} }} {{ not 1 in [1] }} {{ 'x' in missing }}",
    "{{ 1 if true else 2 }} {{ 1 if false }} {{ 'a' if x is defined else 'b' }} {{ (1 if false else 2) + 1 }}",
    "{{ 1 and 2 }} {{ 0 and 2 }} {{ 0 or 2 }} {{ '' or 'x' }} {{ not 0 }} {{ not [] and not {} }}",
    "{{ 'hello'[0] }} {{ 'hello'[-1] }} {{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ 'hello'[-3:] }} {{ 'hello'[::2] }} {{ 'h\u00e9llo'[1] }} {{ 'hello'[9:] }}|",
    "{{ [1,2,3,4][1:] }} {{ [1,2,3,4][:-1] }} {{ [1,2,3,4][::-2] }} {{ [1,2,3,4][-9:2] }} {{ (1,2,3)[1:] }} {{ [1,2,3][5] }}|",
    "{{ [[1, 2], [3]][0][1] }} {{ {'a': {'b': 'c'}}.a.b }} {{ {'a': {'b': 'c'}}['a']['b'] }} {{ {'items': 5}['items'] }} {{ [5, 6].1 }} {{ {'a': 1}.b }}|",
    "{{ missing }}|{{ missing ~ 'x' }}|{{ missing is defined }}|{{ missing|default('d') }}|{{ ''|default('d') }}|{{ ''|default('d', true) }}|{{ none|d('x', boolean=true) }}",
    "{{ '  x \\n'|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 'aBc d'|upper }}|{{ 'ABC \u00c9'|lower }}|{{ 'hELLO wORLD'|capitalize }}|{{ \"they're a-b (c\"|title }}|{{ 'stra\u00dfe'|upper }}",
    "{{ 'abc'|length }} {{ [1,2]|count }} {{ {'a': 1}|length }} {{ '\u4f60\u597d'|length }} {{ missing|length }}",
    "{{ [1, 2, 3]|join(', ') }} {{ ['a']|join }} {{ [{'n': 1}, {'n': 2}]|join('-', attribute='n') }} {{ 'abc'|join('.') }}",
    "{{ {'b': 1, 'a': [1, {'c': none}], 'n': 1.0, 's': 'q\"\\n\u00e9<'}|tojson }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ []|tojson(indent=2) }} {{ {'a': [], 'b': {'c': 1}}|tojson(indent=2) }} {{ 'x'|tojson }} {{ (1, 2)|tojson }}",
    "{{ [3, 1, 2]|sort }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A']|sort(case_sensitive=true) }} {{ [{'k': 2}, {'k': 1}]|sort(attribute='k') }} {{ [3, 1]|sort(reverse=true) }}",
    "{{ [1, 2]|first }} {{ [1, 2]|last }} {{ 'abc'|list }} {{ [1, 2]|reverse|list }} {{ 'abc'|reverse }} {{ ['a', 'A', 'b']|unique|list }} {{ [1, 5, 2]|max }} {{ [4, 1]|min }} {{ [1, 2.5]|sum }} {{ -3|abs }}",
    "{{ [{'a': 1}, {'a': 0}]|selectattr('a')|list }} {{ [{'a': 1}, {'a': 2}]|selectattr('a', 'equalto', 2)|list }} {{ [1, 2, 3]|reject('odd')|list }} {{ [1, 2, 3]|select('gt', 1)|list }} {{ [{'a': 1}]|rejectattr('a')|list }}",
    "{{ [{'a': 1}, {'a': 2}]|map(attribute='a')|list }} {{ ['a', 'b']|map('upper')|join }} {{ [{'a': {'b': 3}}]|map(attribute='a.b')|list }} {{ [{}]|map(attribute='z', default=0)|list }}",
    "{{ '42'|int + 1 }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ '3.9'|int }} {{ 3.9|int }} {{ '1.5'|float }} {{ 1|string ~ 'a' }} {{ true|int }}",
    "{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in {'x': 1}|items %}{{ k }}{{ v }}{% endfor %}{% for k in {'p': 1, 'q': 2} %}{{ k }}{% endfor %}{{ {'b': 1, 'a': 2}|dictsort }}",
    "{{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 5) }} {{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|list }}",
    "{{ ' ab '.strip() }}|{{ 'xxa'.lstrip('x') }}|{{ 'axx'.rstrip('x') }}|{{ 'a,b,,c'.split(',') }}|{{ ' a  b '.split() }}|{{ 'a b c'.split(' ', 1) }}|{{ 'a b c '.split(none, 1) }}|{{ 'x\\ny\\n'.splitlines() }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abcabc'.replace('b', 'X') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'a-b'.upper() }} {{ \"they're\".title() }} {{ '-'.join(['a', 'b']) }} {{ 'aXbX'.count('X') }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ '12'.isdigit() }} {{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }}",
    "{{ 1 is number }} {{ 'a' is string }} {{ {} is mapping }} {{ [] is iterable }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ [] is sequence }} {{ none is none }} {{ none is not none }} {{ 4 is divisibleby 2 }} {{ 3 is odd }} {{ 4 is even }} {{ true is boolean }} {{ 1 is integer }} {{ 1.0 is float }} {{ 1 is eq 1 }} {{ 'a' is in ['a'] }} {{ true is true }} {{ 1 is true }} {{ range is callable }} {{ 'ab' is lower }}",
    "{% for i in range(3) %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{{ loop.cycle('a', 'b') }}{% endfor %} {{ range(1, 10, 3)|list }} {{ range(3, 0, -1)|list }}",
    "{% for i in [1, 2, 3, 4] if i is even %}{{ i }}:{{ loop.index0 }}{{ loop.first }}{{ loop.revindex }}{% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}",
    "{% for a in [1, 2] %}{% for b in [3, 4] %}{{ a }}{{ b }}{{ loop.index }} {% endfor %}{{ loop.index }}{% endfor %}",
    "{% for i in [1, 2, 3] %}{{ loop.previtem }}<{{ i }}<{{ loop.nextitem }} {% endfor %}",
    "{% for i in range(10) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}",
    "{% set ns = namespace(n=0, s='a') %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ ns.s }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set t = 1, 2 %}{{ t }}{% for x, y in [(1, 2), [3, 4]] %}{{ x }}{{ y }}{% endfor %}",
    "{% set x %}in {{ 1 }}{% endset %}{{ x }}|{{ x|length }}",
    "{% macro hi(name, mark='!') %}hi {{ name }}{{ mark }}{% endmacro %}{{ hi('a') }} {{ hi('b', '?') }} {{ hi(mark='.', name='c') }} {{ hi() }}",
    "{% if a is defined %}1{% elif 0 %}2{% elif 'x' %}3{% else %}4{% endif %}",
    "a\n  {% if true %}\n  b\n  {% endif %}\n  c\n",
    "a\n  {%- if true -%}\n  b\n  {%- endif %}\n  c\n\n",
    "a  {%+ if true %}\n b {% endif +%}\n c {{- ' d ' -}} \n e",
    "x {# gone #}\n  {# a line #}\ny {#- tight -#} z",
    "{% raw %}{{ not }} {% this %}{% endraw %}|{{ '}}' }} {{ '%}' }} {{ {'a': {'b': 1}}['a'] }}",
    "  {% set x = 1 %}  {{ x }}  \n\t{% for i in [1] %}\n\t{{ i }}\n\t{% endfor %}\nend",
    "{{ 'a\\tb\\u00e9\\x41\\\\' }} {{ \"d'q\" }}",
    "{% generation %}said{% endgeneration %} {{ 'x' | indent }} {{ 'a\\nb\\n\\nc'|indent(2) }} {{ 'a\\nb'|indent(2, true) }} {{ '<&>'|e }} {{ '<b>'|safe }}",
    "{{ strftime_now('%d %b %Y') }} {{ dict(a=1, b='x') }} {{ [1, [2, (3,)]]|string }}",
    "{{ 1 + 2 * 3 - 4 // 2 }} {{ (1 + 2) * 3 }} {{ 'a' ~ 1 * 2 }} {{ 2 * 3 ~ 4 }} {{ -3|abs + 1 }} {{ not true or true }}",
]

ERRORS = [
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 1 + 'a' }}", "{{ raise_exception('no way') }}",
    "{{ [].append(1) }}", "{{ 1 / 0 }}", "{{ missing() }}", "{{ 'a' < 1 }}", "{% for x in 5 %}{% endfor %}",
    "{{ 'a' ~ 1 + 2 }}", "{% if %}{% endif %}", "{{ 1 ", "{% endfor %}", "{% for x in [1] %}", "{{ 'a }}", "{# open",
    "{{ x | nosuchfilter }}", "{{ x is nosuchtest }}", "{% nosuchtag %}", "{{ range(1000000) }}",
    "{{ (1, 2 }}", "{% set a, b = [1] %}", "{% set x.y = 1 %}",
]


def cases(folder):
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, talk in TALKS.items():
            for prompt in (False, True):
                yield path.name, source, {"messages": talk, "add_generation_prompt": prompt,
                                          "bos_token": "<s>", "eos_token": "</s>",
                                          "tools": None, "documents": None}
        for in_user in (True, False):
            yield path.name, source, {"messages": TOOL_TALK, "tools": TOOLS,
                                      "tools_in_user_message": in_user,
                                      "builtin_tools": ["code_interpreter", "brave_search"],
                                      "add_generation_prompt": True,
                                      "bos_token": "<s>", "eos_token": "</s>"}
    for source in SNIPPETS:
        yield "", source, {}
    for source in ERRORS:
        yield "", source, {}


def main():
    folder, output = sys.argv[1:]
    templates, result = {}, []
    for name, source, variables in cases(folder):
        entry = {"template": name} if name else {"source": source}
        if name:
            templates[name] = source
        entry["variables"] = variables
        try:
            entry["expected"] = environment().from_string(source).render(**variables)
        except Exception as error:  # Whatever Python raises counts as an error.
            entry["error"] = type(error).__name__
        result.append(entry)
    pathlib.Path(output).write_text(json.dumps(
        {"now": NOW, "templates": templates, "cases": result}, indent=1) + "\n")


main()
