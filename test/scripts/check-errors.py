#!/usr/bin/env python3
"""Lists the error messages that no test mentions.

usage: check-errors.py [--all] [FOLDER ...]      (default: lib/Import runtime)

A message is the string literals inside a call that makes an error. A test
mentions it when some run of two or more words is in a file below test/ that only
this message has; of the messages of its source file, for tests named after that. Exit code 1 when there are messages without a test.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CALLS = re.compile(r"\b(?:Error|makeError|createStringError|emitError|emitOpError|fail|error|refuse|"
                   r"wrongType|reject|bad|invalid|malformed|check\w*|need\w*|require)\s*\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
JOINED = re.compile(r'"\s*\n\s*"')
MARK = "\x00"


def call_text(source, start):
    """The text between the parentheses that begin before `start`."""
    depth, i = 1, start
    while i < len(source) and depth:
        if source[i] == '"':
            i = LITERAL.match(source, i).end() if LITERAL.match(source, i) else i + 1
            continue
        if source[i] == "'" and source[i + 2 : i + 3] == "'":
            i += 3
            continue
        depth += {"(": 1, ")": -1}.get(source[i], 0)
        i += 1
    return source[start : i - 1]


def messages(path):
    source = JOINED.sub("", path.read_text())
    source = re.sub(r"//[^\n\"]*\n", "\n", source)
    for call in CALLS.finditer(source):
        body = call_text(source, call.end())
        text = MARK.join(unescape(part) for part in LITERAL.findall(body))
        text = re.sub(r"\{[^{}]*\}", MARK, text).replace("{{", "{").replace("}}", "}")
        words = re.findall(r"[A-Za-z]{2,}", text)
        if len(words) >= 3:
            # Calls that pass an error on hold the text of an inner one.
            inner = CALLS.search(body)
            if inner and LITERAL.search(body[inner.end():]) and not LITERAL.search(body[:inner.start()]):
                continue
            yield source.count("\n", 0, call.start()) + 1, text


def unescape(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)


def normal(text):
    return re.sub(r"\s+", " ", text)


def windows(text):
    """Runs of words of a message; MARK stands for any text."""
    tokens = re.sub(MARK + r"+", f" {MARK} ", text).split()
    for size in range(2, 8):
        for i in range(len(tokens) - size + 1):
            window = tokens[i : i + size]
            if MARK not in (window[0], window[-1]) and sum(w != MARK for w in window) > 1:
                yield " ".join(window)
    for token in tokens:
        if len(token) > 9:
            yield token


def pattern(window):
    parts = [re.escape(part) for part in re.split(f" ?{MARK} ?", window)]
    return re.compile(r".{0,80}?".join(parts))


def mentions(window, corpus):
    if MARK not in window:
        return window in corpus
    longest = max(re.split(f" ?{MARK} ?", window), key=len)
    return longest in corpus and pattern(window).search(corpus) is not None


def read_tests():
    """The text of every test, and that of the tests named after a source file."""
    tests = {}
    for path in sorted((ROOT / "test").rglob("*")):
        if path.suffix in (".cpp", ".h", ".test", ".mlir", ".py") and "scripts" not in path.parts:
            text = JOINED.sub("", path.read_text()).replace('\\"', '"')
            tests[path] = normal(re.sub(r"\{\{(.*?)\}\}", " ", text) if path.suffix != ".cpp" else text)
    return tests


def own_tests(source, tests):
    """The tests that belong to a source file by name."""
    if source.parts[0] == "lib":
        return " ".join(t for p, t in tests.items() if source.parts[1] in p.parts)
    return " ".join(t for p, t in tests.items() if p.name.startswith(source.stem))


def main():
    show_all = "--all" in sys.argv
    folders = [a for a in sys.argv[1:] if a != "--all"] or ["lib/Import", "runtime"]
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.[ch]*")):
            for line, text in messages(path):
                found.setdefault(normal(text), (path.relative_to(ROOT), line))
    owners, owners_here = {}, {}
    for text, (path, _) in found.items():
        for window in set(windows(text)):
            owners.setdefault(window, []).append(text)
            owners_here.setdefault((path, window), []).append(text)
    tests = read_tests()
    everything = " ".join(tests.values())
    missing = 0
    for text, (path, line) in found.items():
        own = own_tests(path, tests)
        hit = any(len(owners_here[path, w]) == 1 and mentions(w, own) or
                  len(owners[w]) == 1 and mentions(w, everything) for w in windows(text))
        missing += not hit
        if show_all or not hit:
            print(f"{'' if not show_all else 'ok ' if hit else '-- '}{path}:{line}: {text.replace(MARK, '{}').strip()}")
    print(f"{len(found)} messages, {missing} without a test")
    sys.exit(missing > 0)


main()
