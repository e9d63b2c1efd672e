#!/usr/bin/env python3
"""Writes runtime/UnicodeTables.inc: what Unicode says about characters, as the tokenizers library sees it.

usage: make-unicode-tables.py > runtime/UnicodeTables.inc

Needs perl and the packages tokenizers and regex. The library's parts were built at different versions of Unicode:
its patterns see the newest one, its normal forms that of version 9, its punctuation that of version 8. So each
character has a category, as patterns see it, and the oldest of these versions that has the character.
"""
import re
import subprocess
import sys

import regex._regex_core
from tokenizers import Regex, normalizers

CATEGORIES = "Cn Cc Cf Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs".split()
POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
TEXT = "".join(map(chr, POINTS))


def members(name):
    """The characters of a property, by removing all others."""
    return map(ord, normalizers.Replace(Regex(r"[^\p{%s}]" % name), "").normalize_str(TEXT))


def present_in(version):
    script = r'print join " ", grep { ($_ < 0xd800 || $_ > 0xdfff) && chr($_) =~ /\p{Present_In: %s}/ } 0..0x10ffff'
    return set(map(int, subprocess.check_output(["perl", "-e", script % version], text=True).split()))


def write(name, values):
    """One word for each run of equal values: where it begins, and the value in the low byte."""
    words, last = [], None
    for c, value in enumerate(values):
        if value != last:
            words.append(f"0x{c << 8 | value:X}")
            last = value
    print(f"static const uint32_t {name}[] = {{")
    line = "   "
    for word in words:
        if len(line) + len(word) > 97:
            print(line)
            line = "   "
        line += f" {word},"
    print(line + "\n};\n")


def main():
    category = [CATEGORIES.index("Cn")] * 0x110000
    for c in range(0xD800, 0xE000):
        category[c] = CATEGORIES.index("Cs")
    for name in CATEGORIES:
        if name not in ("Cn", "Cs"):
            for c in members(name):
                category[c] = CATEGORIES.index(name)
    in8, in9 = present_in("8.0"), present_in("9.0")
    age = [0 if c in in8 or category[c] == 0 else 1 if c in in9 else 2 for c in range(0x110000)]
    names = {}
    for name, number in regex._regex_core.PROPERTIES["SCRIPT"][1].items():
        names.setdefault(number, name)
    script, known = [0] * 0x110000, ["Unknown"]
    for name in sorted(set(names.values()) - {"UNKNOWN"}):
        try:
            found = list(members(name))
        except Exception:
            continue
        if not found:
            continue
        for c in found:
            script[c] = len(known)
        known.append(re.sub("[^A-Z]", "", name).capitalize())
    print("// Made by test/scripts/make-unicode-tables.py. A word holds the first code point of a run and, in its\n"
          "// low byte, the value of the run.\n")
    write("categoryRuns", [c | a << 5 for c, a in zip(category, age)])
    write("scriptRuns", script)
    print("static const char *const scriptNames[] = {")
    line = "   "
    for name in known:
        if len(line) + len(name) > 94:
            print(line)
            line = "   "
        line += f' "{name}",'
    print(line + "\n};")


main()
