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
        return nodes.CallBlock(self.call_method("said"), [], [], body).set_lineno(line)

    def said(self, caller):
        return caller()


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

PART_TALK = [
    message("user", [{"type": "text", "text": "What is "}, {"type": "image"}, {"type": "image", "url": "x"},
                     {"type": "text", "text": " here?"}]),
    message("assistant", "<think>\nA cat,\nI think.\n</think>\n\nA cat."),
    message("user", [{"type": "text", "text": "Sure?"},
                     {"type": "list", "parts": [{"type": "text", "text": "a"}, {"parts": [{"type": "text", "text": "b"}]}]}],
            name="ann"),
]

CALL_TALK = [
    message("user", "Weather in Paris and Rome, and the time?"),
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "abcdefgh1", "type": "function",
         "function": {"name": "get_weather", "arguments": {"city": "Paris"}}},
        {"id": "abcdefgh2", "type": "function",
         "function": {"name": "get_time", "arguments": {}}},
        {"id": "abcdefgh3", "type": "function",
         "function": {"name": "get_weather", "arguments": {"city": "Roma \u2014 \u00e8"}}}]},
    message("tool", "21", name="get_weather"),
    message("tool", [{"type": "text", "text": "12:00"}], name="get_time"),
    message("tool", {"content": "rain"}, name="get_weather"),
    {"role": "assistant", "content": "Fine.", "reasoning_content": "Easy."},
]

TYPED_TOOLS = [
    {"type": "function", "function": {
        "name": "book", "description": "Books a table in a restaurant of the user's choice.",
        "parameters": {"type": "object", "required": ["place", "at"], "properties": {
            "place": {"type": "string", "description": "Name\nor address"},
            "at": {"type": "object", "properties": {"day": {"type": "integer"}, "hour": {"type": ["number", "null"]}},
                   "required": ["day"]},
            "guests": {"type": "array", "items": {"type": "string"}},
            "mood": {"enum": ["calm", "loud", 3], "default": "calm"},
            "any": {}}}}},
    {"type": "function", "function": {"name": "stop", "description": "Stops.",
                                      "parameters": {"type": "object", "properties": {}}}},
]

DOCUMENTS = [
    {"title": "Cats", "text": "Cats are small carnivores that people keep, and that keep people."},
    {"text": "No title", "tags": ["a", {"b": 1}]},
    {"title": "Cats", "text": "<short>"},
]

DATA = {
    "users": [{"name": "Bob", "age": 31, "city": "Rome", "tags": ["x", "y"], "nick": "b"},
              {"name": "alice", "age": 45, "city": "paris", "tags": ["z"]},
              {"name": "Carl", "age": 40, "city": "rome", "tags": []}],
    "tree": [{"name": "a", "children": [{"name": "b"}, {"name": "c", "children": [{"name": "d"}]}]}, {"name": "e"}],
}

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
    # Macros, call blocks, scopes.
    "{% macro m(a, b=a ~ '!', c=1) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=2) }} {{ m(*[1, 2], **{'c': 3}) }} {{ m.name }}",
    "{% macro m() %}{{ varargs }} {{ kwargs }}{% endmacro %}{{ m() }} {{ m(1, 2) }} {{ m(1, k='v') }}",
    "{% macro box(title) %}<{{ title }}>{{ caller() }}</{{ title }}>{% endmacro %}{% call box('a') %}in {% call box('b') %}deep{% endcall %}{% endcall %}",
    "{% macro rows(items) %}{% for i in items %}{{ caller(i, loop.index) }};{% endfor %}{% endmacro %}{% set x = 5 %}{% call(item, n=0) rows(['p', 'q']) %}{{ n }}{{ item }}{{ x }}{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{{ caller is undefined }}{% endmacro %}{{ m() }} {% call m() %}{% endcall %}",
    "{% for i in [1, 2] %}{% macro m(x) %}{{ i }}{{ x }}{% endmacro %}{{ m('a') }}{% endfor %}",
    "{% macro outer(x) %}{% macro inner(y) %}{{ x }}{{ y }}{% endmacro %}{{ inner(2) }}{{ inner(3) }}{% endmacro %}{{ outer(1) }}",
    "{% macro fact(n) %}{{ n * fact(n - 1)|int if n > 1 else 1 }}{% endmacro %}{{ fact(10) }}",
    "{% macro m(x) %}{% set x = x + 1 %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m(x) }}{{ x }}",
    "{% macro later() %}{{ word }}{% endmacro %}{% set word = 'w' %}{{ later() }}",
    "{% set m = joiner('|') %}{% for i in [1, 2, 3] %}{{ m() }}{{ i }}{% endfor %} {% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{{ c.current }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a }} {% set a = 2 %}{% with a = 3, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% for x in [1, 2, 3] %}{% with y = x * 2 %}{% if y == 4 %}{% continue %}{% endif %}{{ y }}{% endwith %}{% endfor %}",
    "{% filter upper %}ab{{ 'c' }}{% endfilter %} {% filter replace('a', 'b') | trim %} aa {% endfilter %}|{% set x | upper | trim %} up {% endset %}{{ x }}|",
    "{% block body %}in{% set z = 1 %}{{ z }}{% endblock %}{{ z }} {% block other scoped %}{% endblock other %}",
    "{% print 1, 2 %} {% print 'x' ~ 1 %}",
    "{% set ns = namespace({'a': 1}, b=2) %}{% set ns.c = ns.a + ns.b %}{{ ns.c }}{% set ns.d %}block{% endset %}{{ ns.d }}{{ ns.none is defined }}",
    "{% set (a, b), c = (1, 2), 3 %}{{ a }}{{ b }}{{ c }}{% for a, (b, c) in [(1, (2, 3)), (4, [5, 6])] %}{{ a }}{{ b }}{{ c }};{% endfor %}",
    "{% set a = b = 1 %}",
    # Loops.
    "{% for i in [1, [2, [3]]] recursive %}{{ loop(i) if i is not number else i }}@{{ loop.depth }}/{{ loop.depth0 }} {% endfor %}",
    "{% for item in data.tree recursive %}<{{ item.name }}{% if item.children %}{{ loop(item.children) }}{% endif %}>{% else %}none{% endfor %}",
    "{% for i in [1, 1, 2, 2, 1] %}{{ i if loop.changed(i) else '-' }}{% endfor %} {% for i in 'ab' %}{{ loop.cycle(1, 2, 3) }}{{ loop.revindex0 }}{% endfor %}",
    "{% for i in range(5) if i % 2 %}{{ loop.index }}{{ loop.length }}{{ loop.last }} {% else %}x{% endfor %}{% for i in [] %}{% else %}{{ loop is defined }}{% endfor %}",
    "{% for i in [3, 4] %}{% set outer = loop %}{% for j in 'xy' %}{{ outer.index }}{{ loop.index }}{{ j }} {% endfor %}{% endfor %}",
    "{% for k, v in data.users[0] | items %}{{ k }}:{{ v }} {% endfor %}{% for u in data.users | sort(attribute='age', reverse=true) %}{{ u.name }} {% endfor %}",
    "{% for i in 1, 2, 3 %}{{ i }}{% endfor %} {% for c in 'h\u00e9\U0001f600' %}[{{ c }}]{% endfor %} {% for x in missing %}{{ x }}{% else %}e{% endfor %}",
    "{% for i in [1, 2, 3, 4] %}{% if i is odd %}{% continue %}{% endif %}{{ i }}{% if loop.index > 3 %}{% break %}{% endif %}{% else %}none{% endfor %}",
    # Generators can be gone through once.
    "{% set g = [1, 2, 3] | select('odd') %}{{ g | list }}{{ g | list }} {% set h = 'ab' | map('upper') %}{{ h | first }}{{ h | join }}{{ h | join }}",
    "{{ 'yes' if [] | select else 'no' }} {{ 'yes' if {}.items() else 'no' }} {{ {'a': 1}.keys() }} {{ {'a': 1}.values() }} {{ {'a': 1}.items() }} {{ range(3) }} {{ range(1, 9, 2) }}",
    "{{ [1, 2] | map('string') is iterable }} {{ [1] | select is sequence }} {{ {}.keys() is sequence }} {{ {}.keys() is iterable }} {{ range(2) is sequence }} {{ {'a': 1}.keys() | length }}",
    # Filters of text.
    "{{ 'a b' | center(9) }}| {{ 'ab' | center(5) }}| {{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(9, end='', leeway=0) }} {{ 'foobar' | truncate(5, leeway=0) }}",
    "{{ 'The quick brown fox jumps over the lazy dog' | wordwrap(12) }}|{{ 'a\\n\\nbb cc' | wordwrap(3) }}|{{ 'averyveryverylongword x' | wordwrap(6) }}|{{ 'averyveryverylongword x' | wordwrap(6, false) }}|{{ 'well-known state-of-the-art e-mail' | wordwrap(8) }}|{{ 'one two' | wordwrap(4, wrapstring='<>') }}|{{ 'a-b-c--dd-ee' | wordwrap(4) }}|{{ 'long-hyphenated-word' | wordwrap(7, true, none, false) }}",
    "{{ 'one two_three 4,five' | wordcount }} {{ 'a b' | urlencode }} {{ {'a': 'b c', 'd': '\u00e9/'} | urlencode }} {{ [('x', 1)] | urlencode }} {{ 'a/b?c=d&e~f' | urlencode }}",
    "{{ {'class': 'a b', 'id': none, 'x': '<'} | xmlattr }} {{ {} | xmlattr }}|{{ '<a href=\"x\">\\'&' | e }} {{ '<' | forceescape }}",
    "{{ 'a\\n\\nb\\n' | indent }}|{{ 'a\\n\\nb' | indent(2, blank=true) }}|{{ 'a\\nb' | indent('> ', true) }}|{{ '' | indent(first=true) }}|",
    "{{ '%s is %d and %5.2f, %r %x %o %e %g %%' | format('a', 3, 2.5, 'q', 255, 8, 12345.678, 0.0001) }} {{ '%(a)s-%(b)03d' | format(a='x', b=7) }} {{ '%-5s|%5s|%05d|%+d|% d' % ('a', 'b', 42, 3, 4) }} {{ '%s' % 'x' }} {{ '%s %s' % (1, [2]) }} {{ '%.2s' % 'abc' }} {{ '%*d' % (5, 3) }} {{ '%#x' % 255 }}",
    "{{ '{} {}'.format(1, 'a') }} {{ '{1}{0}'.format('a', 'b') }} {{ '{x}-{y!r}'.format(x=1, y='q') }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:.2f} {:05.1f} {:+d} {:,} {:x} {:#b} {:e} {:%}'.format(3.14159, 2.5, 3, 1234567, 255, 5, 12345.678, 0.25) }} {{ '{{}}'.format() }} {{ '{0[a]} {1[0]}'.format({'a': 1}, [2]) }} {{ '{:{}}|'.format('a', 4) }} {{ '{:.3}'.format('abcdef') }} {{ '{:d}'.format(true) }} {{ '{}'.format(true) }}",
    "{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 2.5 | round }} {{ 3.5 | round }} {{ 42 | round }} {{ 42.1 | round(method='ceil') }} {{ 42.19 | round(1, 'floor') }} {{ 0.125 | round(2) }} {{ 1234.5 | round(-2) }} {{ -2.5 | round }} {{ 42.55 | round | int }}",
    "{{ 1 | filesizeformat }} {{ 999 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 123456789 | filesizeformat }} {{ 123456789 | filesizeformat(true) }} {{ '5000' | filesizeformat }}",
    "{{ '0x1F' | int(base=16) }} {{ '1010' | int(base=2) }} {{ 'zz' | int(0, 36) }} {{ '1_000' | int }} {{ ' 7 ' | int }} {{ '-3' | int }} {{ '1e2' | int }} {{ 'x' | int('d') }} {{ none | int(5) }} {{ '12abc' | int }} {{ '' | int }} {{ [1] | int }} {{ 'x' | float }} {{ '1e3' | float }} {{ none | float(2.5) }} {{ ' 2.5 ' | float }} {{ '0b11' | int(0, 2) }}",
    "{{ 'hello' | replace('l', 'L', 1) }} {{ 'hello' | replace('', '-') }} {{ 'aaa' | replace('aa', 'b') }} {{ 5 | replace('5', 'five') }} {{ 'x' | string | upper }} {{ none | string }} {{ 3 | upper }} {{ 'ab' | title }} {{ missing | upper }}|{{ missing | trim }}|",
    "{{ 'x' | tojson(ensure_ascii=true) }} {{ '\u00e9\U0001f600\\u007f\\\\\"/' | tojson(ensure_ascii=true) }} {{ '\u00e9\\u2028\\u007f' | tojson }} {{ {'b': [1, 2], 'a': {}} | tojson(indent=2, sort_keys=true) }} {{ [1, {'a': 2}] | tojson(separators=(',', ':')) }} {{ [1, [2, []]] | tojson(indent='\\t') }} {{ {1: 2, none: 3, true: 4, 1.5: 5} | tojson }} {{ [1.0, 1e100, -0.0, 1e-7, 123456789012] | tojson }} {{ {'a': 1} | tojson(indent=0) }} {{ [1, 2] | tojson(indent=1, separators=(', ', '=')) }}",
    # Filters of lists.
    "{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ range(7) | slice(3) | list }} {{ [1, 2, 3, 4] | slice(3, 'x') | list }}",
    "{% for city, people in data.users | groupby('city') %}{{ city }}={{ people | map(attribute='name') | join(',') }};{% endfor %} {% for g in data.users | groupby('missing', default='none') %}{{ g.grouper }}{{ g.list | length }}{{ g[0] }}{% endfor %} {{ [{'k': 'B'}, {'k': 'a'}, {'k': 'b'}] | groupby('k') | map(attribute='grouper') | list }} {{ [{'k': 'B'}, {'k': 'b'}] | groupby('k', case_sensitive=true) | map('first') | list }}",
    "{{ data.users | map(attribute='name') | sort | list }} {{ data.users | sort(attribute='city,name') | map(attribute='name') | join(' ') }} {{ data.users | sum(attribute='age') }} {{ [1, 2] | sum(start=10) }} {{ [0.5, 1] | sum }} {{ [[1], [2]] | sum(start=[]) }}",
    "{{ ['b', 'A', 'a', 'B'] | unique | list }} {{ ['b', 'A', 'a'] | unique(true) | list }} {{ data.users | unique(attribute='city') | map(attribute='name') | list }} {{ [1, 1.0, true, '1'] | unique | list }}",
    "{{ ['b', 'A'] | min }} {{ ['b', 'A'] | max }} {{ ['a', 'B'] | max(case_sensitive=true) }} {{ data.users | max(attribute='age') }} {{ [] | max }}|{{ [] | first }}|{{ '' | last }}|{{ 'abc' | first }}{{ 'abc' | last }}",
    "{{ {'b': 1, 'A': 3, 'c': 2} | dictsort }} {{ {'b': 1, 'A': 3} | dictsort(true) }} {{ {'b': 1, 'A': 3} | dictsort(by='value', reverse=true) }} {{ {'b': 1}.items() | list }} {{ {'x': 1} | list }} {{ {'x': 1} | items | list }}",
    "{{ [1, 2, 3, 4] | select('>', 2) | list }} {{ [1, 2, 3, 4] | reject('==', 2) | list }} {{ ['a', none, ''] | select | list }} {{ [1, 'a', none] | select('string') | list }} {{ [3, 4] | select('divisibleby', 2) | list }} {{ ['x', 'y'] | select('in', ['y', 'z']) | list }} {{ data.users | selectattr('age', '>=', 40) | map(attribute='name') | list }} {{ data.users | rejectattr('nick', 'defined') | map(attribute='name') | list }}",
    "{{ ['a b', 'c'] | map('replace', ' ', '_') | list }} {{ [[1, 2], [3]] | map('join', '-') | list }} {{ data.users | map(attribute='tags.0') | list }} {{ data.users | map(attribute='nick', default='?') | list }} {{ ['1', 'x'] | map('int', default=9) | list }} {{ [' a '] | map('trim') | map('upper') | first }}",
    "{{ [1, 2] | reverse | list }} {{ 'abc' | reverse }} {{ (1, 2) | reverse | first }} {{ [3, 1] | sort | first }} {{ [(1, 'b'), (1, 'a')] | sort }} {{ [2, 1.5, true] | sort }} {{ {'b': 0, 'a': 1} | sort }} {{ 'hello' | list | sort | join }}",
    "{{ 'abc' | attr('upper') is callable }} {{ {'a': 1} | attr('a') }}| {{ [1, 2] | length }} {{ range(4) | count }} {{ {} | d('x') }} {{ '' | d('x', true) }} {{ 0 | default(1, boolean=true) }} {{ missing.x | default('deep') if missing is defined else 'no' }}",
    # Tests.
    "{{ 1 is sameas 1 }} {{ true is sameas true }} {{ 1 is sameas true }} {{ none is sameas none }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ 'x' is escaped }} {{ 3 is gt 2 }} {{ 3 is lessthan 2 }} {{ 3 is greaterthan(2) }} {{ 2 is ge 2 }} {{ 2 is le 1 }} {{ 2 is ne 2 }} {{ 2 is lt 3 }}",
    "{{ 'AB' is upper }} {{ 'Ab' is upper }} {{ '12' is lower }} {{ 2.0 is even }} {{ 3.0 is odd }} {{ -3 is odd }} {{ 9 is divisibleby(3) }} {{ missing is iterable }} {{ missing is sequence }} {{ {} is sequence }} {{ 'a' is not in 'abc' }} {{ 1 is not none and 2 is defined }} {{ [] is not mapping }} {{ true is number }} {{ true is integer }} {{ 1.5 is number }} {{ none is defined }}",
    "{{ (1, 2) == (1, 2) }} {{ [1] == (1,) }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ 'a' == 1 }} {{ none == false }} {{ 0 == false }} {{ '' == none }} {{ [1, [2]] == [1, [2]] }} {{ (1, 2) < (1, 3) }} {{ 'Z' < 'a' }} {{ 1 < 2.5 <= 2.5 != 3 }}",
    # Methods.
    "{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b c '.rsplit(none, 1) }} {{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'a b'.split(maxsplit=0) }} {{ 'abc'.split('b') }} {{ ''.split() }} {{ ''.split(',') }} {{ ' a b '.split(none, 1) }}",
    "{{ 'abcabc'.find('c', 3) }} {{ 'abcabc'.rfind('a') }} {{ 'abc'.index('b') }} {{ 'abcabc'.count('a', 1) }} {{ 'abc'.count('') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'h\u00e9llo'.find('l') }} {{ 'abc'.find('') }} {{ 'abc'.rindex('c') }}",
    "{{ 'ab'.ljust(4, '.') }} {{ 'ab'.rjust(4) }} {{ 'ab'.center(5, '*') }} {{ 'abc'.center(6, '*') }} {{ '-7'.zfill(4) }} {{ 'a\\tb'.expandtabs(4) }} {{ 'aBc'.swapcase() }} {{ 'Stra\u00dfe'.lower() }} {{ 'hello world'.title() }} {{ 'hello World'.capitalize() }} {{ 'x'.replace('x', '') }}|{{ 'abc'.removesuffix('c') }}",
    "{{ 'abc'.isalpha() }} {{ 'a1'.isalnum() }} {{ 'A'.isupper() }} {{ 'a b'.islower() }} {{ 'Ab Cd'.istitle() }} {{ 'ab'.isascii() }} {{ '\u00e9'.isascii() }} {{ '12'.isdecimal() }} {{ '12'.isnumeric() }} {{ ' \\n'.isspace() }} {{ ''.isspace() }} {{ ''.isascii() }} {{ '1a'.isdigit() }}",
    "{{ 'a\\r\\nb\\n\\nc'.splitlines() }} {{ 'a\\nb\\n'.splitlines(true) }} {{ ''.splitlines() }} {{ ', '.join(['a', 'b']) }} {{ '-'.join('abc') }} {{ ''.join([]) }}| {{ {'a': 1}.copy() }} {{ [1, 2].copy() }} {{ (1, 2, 1).count(1) }} {{ [1, 2].index(2) }} {{ {'a': {'b': 1}}.get('a', {}).get('b') }} {{ {'a': 1}.get('z', 'd') }}",
    "{{ {'items': 1, 'keys': 2}.items() | list }} {{ {'items': 1}['items'] }} {{ {'get': 3}['get'] }} {{ {'x-y': 1}['x-y'] }} {{ {1: 'a'}[1] }} {{ {'a': [1, {'b': 'c'}]}['a'][1].b }} {{ data['users'][0]['name'][0] }} {{ data.users[-1].name }} {{ data.users.0.name }}",
    # Literals, operators, slices.
    "{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_0.5 }} {{ 1E2 }} {{ 'a' 'b' }} {{ [1, 2,] }} {{ (1,) }} {{ {'a': 1,} }} {{ True and not False }} {{ None }} {{ 'a\\x41\\u00e9\\n' }}",
    "{{ [1] * 3 }} {{ 2 * (1,) }} {{ 'ab' * 0 }}| {{ -(2) }} {{ +3 }} {{ - -1 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 7.0 // 2 }} {{ 1 - 1.0 }} {{ true + 1 }} {{ 3 * true }} {{ 10 % 3.5 }}",
    "{{ 'abcdef'[::2] }} {{ 'abcdef'[1:-1] }} {{ 'abcdef'[-2:] }} {{ 'abcdef'[4:1:-1] }} {{ [1, 2, 3][:] }} {{ [1, 2, 3][-1:] }} {{ (1, 2, 3)[::-1] }} {{ range(9)[2:4] | list }} {{ 'abc'[10] }}| {{ 'abc'[-4] }}| {{ [1, 2, 3][true] }}",
    "{{ 1 if 0 else 2 if 0 else 3 }} {{ (1 if 1) ~ 'x' }} {{ 'a' if missing else 'b' }} {{ not missing }} {{ missing or 'x' }} {{ missing == none }} {{ missing == other }} {{ [missing] }} {{ 'a' in ('a', 'b') and 'c' not in ['a'] }} {{ 1 in {1: 2} }} {{ 'k' in {'k': 1}.keys() }} {{ 2 in range(3) }}",
    "{{ '\\u00a0\\u200b\u00e9\\x07' | list }} {{ ['\\n', \"'\", '\"', '\\\\', '\u2028'] }} {{ {'a': none, 'b': (1,)} }} {{ [1.0, -0.0, 1e22, 1e15, 1.5e-10, 100000000000000000.0] }}",
    "{{ ''.__class__ }}|{{ [].__class__.__mro__ if [].__class__ else 'safe' }}|{{ {}.__init__ is defined }}|{{ 'a'.__len__ is defined }}|{{ range.__globals__ is defined }}",
    # White space.
    "a {%- if 1 %} b {% endif -%} c\n{%+ if 1 %}d{% endif +%}\n e",
    "  {# c #}\n{# d #}  \n  {%- set x = 1 -%}  \n  x\n{% raw -%}  {{ a }} {%- endraw %} \n {{ 1 -}}  \n  y",
    "{% for i in [1, 2] -%}\n  {{ i }}\n{%- endfor %}\n\n{% if true %}\n\tin\n{% endif %}\nlast\n\n",
    "line\r\n{% if 1 %}\r\nb\r\n{% endif %}\r\nc\r",
]

ERRORS = [
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 1 + 'a' }}", "{{ raise_exception('no way') }}",
    "{{ [].append(1) }}", "{{ 1 / 0 }}", "{{ missing() }}", "{{ 'a' < 1 }}", "{% for x in 5 %}{% endfor %}",
    "{{ 'a' ~ 1 + 2 }}", "{% if %}{% endif %}", "{{ 1 ", "{% endfor %}", "{% for x in [1] %}", "{{ 'a }}", "{# open",
    "{{ x | nosuchfilter }}", "{{ x is nosuchtest }}", "{% nosuchtag %}", "{{ range(1000000) }}",
    "{{ (1, 2 }}", "{% set a, b = [1] %}", "{% set x.y = 1 %}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}", "{% macro m(a, a=1, b) %}{% endmacro %}", "{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}",
    "{% call 1 %}{% endcall %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% do [].append(1) %}", "{{ f(**[1]) }}",
    "{{ '%d' % 'a' }}", "{{ '%s %s' % (1,) }}", "{{ '%s' % (1, 2) }}", "{{ '%q' % 1 }}", "{{ '%(a)s' % {} }}", "{{ '{}'.format() }}", "{{ '{'.format() }}",
    "{{ '{:d}'.format('a') }}", "{{ '{:.2f}'.format('a') }}", "{{ '{x}'.format(1) }}", "{{ [1] | select | length }}", "{{ [1, 2] | map('upper') | last }}",
    "{{ ([1] | select)[0] }}", "{{ {'a': 1}.keys()[0] }}", "{{ {1}  }}", "{{ [1, 'a'] | sort }}", "{{ [1, 2] | map | list }}",
    "{{ [1] | select('nosuch') | list }}", "{{ [1] | map('nosuch') | list }}", "{{ missing | int }}", "{{ missing | abs }}", "{{ missing | tojson }}",
    "{{ {}.update({'a': 1}) }}", "{{ {}.pop('a') }}", "{{ [].sort() }}", "{{ 'abc'.index('z') }}", "{{ 'abc'.split('') }}", "{{ ''.__class__.__mro__ }}",
    "{{ 'a'.join([1]) }}", "{{ 'abc'.startswith(['a']) }}", "{{ cycler() }}", "{{ {[]: 1} }}", "{{ 1 is divisibleby 0 }}", "{{ 'x' | round }}",
    "{{ 5 | round(1, 'up') }}", "{% filter nosuch %}{% endfilter %}", "{% for x in [1] recursive %}{{ loop(5) }}{% endfor %}", "{% for x in [1] %}{{ loop([2]) }}{% endfor %}",
    "{% if 1 %}{% break %}{% endif %}", "{{ range(1, 2, 0) }}", "{{ dict([1]) }}", "{{ '\\x4' }}", "{{ 'abc' | truncate(1) }}", "{{ 1 | items | list }}", "{{ [1, 2] | groupby }}",
    "{{ {'a': 1} | tojson(nope=1) }}", "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ none + 1 }}", "{{ [] + () }}", "{{ {} + {} }}", "{{ 1 in 5 }}", "{{ 1[0].x }}", "{{ none.x.y }}",
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
    more = [{"messages": PART_TALK}, {"messages": PART_TALK[:2]}, {"messages": CALL_TALK}, {"messages": CALL_TALK[:2]},
            {"messages": CALL_TALK, "tools": TOOLS + TYPED_TOOLS},
            {"messages": TALKS["system"], "tools": TYPED_TOOLS, "enable_thinking": False,
             "date_string": "26 Jul 2024", "cutoff": ""},
            {"messages": TALKS["turns"][:3], "documents": DOCUMENTS, "escape_preamble": True},
            {"messages": [message("system", "<be> brief")] + TALKS["turns"][:2], "documents": [],
             "escape_preamble": True, "citation_mode": "fast"},
            {"messages": [message("user", "a"), message("user", "b")]},
            {"messages": [message("user", "a"), message("robot", "b")]}]
    for name in ("thoughts", "types", "alternating", "documents"):
        source = (pathlib.Path(folder) / (name + ".jinja")).read_text(encoding="utf-8")
        for variables in more:
            yield name + ".jinja", source, {"add_generation_prompt": True, "bos_token": "<s>",
                                            "eos_token": "</s>", "tools": None, "documents": None,
                                            **variables}
    for source in SNIPPETS:
        yield "", source, {"data": DATA} if "data" in source else {}
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
