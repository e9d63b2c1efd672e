#!/usr/bin/env python3
"""Lists the diagnostics of the sources that no test mentions.

usage: check-diagnostics.py TEST_FOLDER [--except TEXT]... SOURCE...

A source is a file or a folder. A diagnostic is a string in a statement that emits an
error, a warning or a remark, that gives the reason for one (`fail`, `refuse`, `reason`,
`return`), or that throws. Each string of at least three words must stand in some test; of
a statement that has no such string, the longest one must. Those with a TEXT in them are let be. Exits with 1 when some do not.
"""

import pathlib
import re
import sys

# What a statement that makes a diagnostic looks like.
EMITS = re.compile(
    r"\bemit\w*(?:Error|Warning|Remark)\b|\b(?:fail|refuse|refuseOp|makeError|createStringError)\("
    r"|\breason = |\bremark::reason\(|\bthrow Error\(|\breturn \(*\""
)
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
COMMENT_OR_STRING = re.compile(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"')
# What stands for a value in a format string.
PLACEHOLDER = re.compile(r"\{[^{}]*\}|%\w+")
ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


def without_comments(text):
    """The text with comments blanked, on the same lines."""
    return COMMENT_OR_STRING.sub(
        lambda match: match.group() if match.group().startswith('"') else "", text)


def end_of_statement(text, start):
    """The position of the first semicolon from `start` on that is in no string."""
    position = start
    while position < len(text) and text[position] != ";":
        string = STRING.match(text, position)
        position = string.end() if string else position + 1
    return position


def literals(statement):
    """The strings of a statement; neighbours are one, and placeholders split them."""
    joined = re.sub(r'(?<!\\)"\s+"', "", statement)
    for match in STRING.finditer(joined):
        text = re.sub(r'\\[n"\\]', lambda escape: ESCAPES[escape.group()], match.group(1))
        for part in PLACEHOLDER.split(text):
            for line in part.split("\n"):
                if re.search(r"[A-Za-z]", line):
                    yield line.strip(" ':;,")


def diagnostics(path):
    """The line and the strings of every diagnostic of a source."""
    text = without_comments(path.read_text())
    # The same text with blank strings, so that none is taken for code.
    code = STRING.sub(lambda match: '"' + " " * (len(match.group()) - 2) + '"', text)
    end = 0
    for match in EMITS.finditer(code):
        if match.start() < end:
            continue
        # A returned string that is no sentence is a name.
        start = match.end() - 1 if match.group().endswith('"') else match.start()
        end = end_of_statement(text, match.start())
        found = list(literals(text[start:end]))
        sentences = [string for string in found if len(string.split()) >= 3]
        if not sentences and found and not match.group().startswith("return"):
            sentences = [max(found, key=len)]
        if sentences:
            yield text.count("\n", 0, match.start()) + 1, sentences


def sources(paths):
    for path in map(pathlib.Path, paths):
        if not path.exists():
            sys.exit(f"check-diagnostics.py: there is no {path}")
        yield from [path] if path.is_file() else sorted(path.rglob("*.cpp"))


def main(arguments):
    exceptions = []
    while "--except" in arguments[:-1]:
        at = arguments.index("--except")
        exceptions.append(arguments[at + 1])
        del arguments[at:at + 2]
    if len(arguments) < 2:
        sys.exit(__doc__)
    tests = "\n".join(
        path.read_text() for path in sorted(pathlib.Path(arguments[0]).rglob("*"))
        if path.suffix in (".mlir", ".test", ".cpp"))
    tests = tests.replace('\\"', '"')
    count = missing = 0
    for path in sources(arguments[1:]):
        for line, sentences in diagnostics(path):
            for sentence in sentences:
                if any(text in sentence for text in exceptions):
                    continue
                count += 1
                if sentence not in tests:
                    missing += 1
                    print(f"{path}:{line}: {sentence}")
    print(f"{count} diagnostics, {missing} in no test")
    return 1 if missing or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
