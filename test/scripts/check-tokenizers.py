#!/usr/bin/env python3
"""Compares mlsys with Hugging Face's tokenizers library on random texts.

usage: check-tokenizers.py [--count N] [--seed N] [--tool PATH] FOLDER ...

Each FOLDER has a tokenizer.json. For each, N texts (10,000) are made from a seed: every script, control and
combining characters, emoji, surrogate-like bytes, runs of white space, tokens of the vocabulary and added tokens. Ids
with and without special tokens, ids of pairs with their type ids, and decoded texts must be equal; so must the ids of
cases.json, where there is one. Ends with the number of differences; the exit code says whether there are any.

The library comes from the current Python, or else from a virtual environment that is made for the run.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]


def import_library():
    """The tokenizers package; runs this script again where it has been installed, if it is not here."""
    try:
        import tokenizers
        return tokenizers
    except ImportError:
        if os.environ.get("MLSYS_CHECK_TOKENIZERS"):
            raise
    with tempfile.TemporaryDirectory() as folder:
        subprocess.check_call([sys.executable, "-m", "venv", folder])
        python = os.path.join(folder, "bin", "python")
        subprocess.check_call([python, "-m", "pip", "install", "-q", "tokenizers"])
        environment = dict(os.environ, MLSYS_CHECK_TOKENIZERS="1")
        sys.exit(subprocess.call([python] + sys.argv, env=environment))


def find_tool():
    for build in ("release", "dev"):
        for name in ("mlsys-run", "mlsys"):
            path = ROOT / "build" / build / "bin" / name
            if path.exists():
                return str(path)
    sys.exit("no mlsys-run or mlsys in build: give --tool")


# Blocks that texts are made of; a text takes a few of them.
BLOCKS = [(0x20, 0x7E)] * 6 + [
    (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x5FF),
    (0x600, 0x6FF), (0x700, 0x8FF), (0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x11FF),
    (0x1200, 0x17FF), (0x1800, 0x1CFF), (0x1D00, 0x1DFF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20FF),
    (0x2100, 0x23FF), (0x2400, 0x27BF), (0x27C0, 0x2BFF), (0x2C00, 0x2E7F), (0x2E80, 0x30FF), (0x3040, 0x30FF),
    (0x3100, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF),
    (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFEFF), (0xFF00, 0xFFEF), (0xFFF0, 0xFFFF), (0x10000, 0x107FF),
    (0x10800, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x14FFF), (0x16000, 0x18FFF), (0x1B000, 0x1BFFF),
    (0x1CF00, 0x1DFFF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x1FB00, 0x1FFFF), (0x20000, 0x323AF),
    (0xE0000, 0xE01EF), (0xF0000, 0x10FFFF),
]
SPACES = " \t\n\r\v\f\x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000\u200b\ufeff"
MARKS = "".join(chr(c) for c in range(0x300, 0x1000) if unicodedata.combining(chr(c)))
PHRASES = [
    "The quick brown fox", "don't", "I'LL", "we've", "they'RE", "it's", " 's", "x = y[3] + 0x1F;", "3.14159", "12345678",
    "def f(x):\n    return x", "https://example.org/a?b=c&d", "na\u00efve caf\u00e9", "Stra\u00dfe", "\u0130stanbul",
    "\u4f60\u597d\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f", "\uc548\ub155\ud558\uc138\uc694",
    "\u041f\u0440\u0438\u0432\u0435\u0442", "\u0645\u0631\u062d\u0628\u0627", "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\U0001F600\U0001F3FD\u200d\U0001F4BB", "\U0001F1E9\U0001F1EA", "\ufb01\u212b\u00bd",
    "A\u030A", "e\u0301\u0327", "\u1100\u1161\u11a8", "\ud55c\u11a8", "\u2460\u33a5", "</s>", "<unk>", "##ing", "\u2581a", "\u0120the",
    "<0x41>", "<|", "|>", "[", "]", "... !!! ???", "_a_b_", "a-b-c", "AbcDEFghi", "\u017f'\u017f", "\u212a",
]


def random_text(rng, tokens, added):
    parts = []
    blocks = [rng.choice(BLOCKS) for _ in range(rng.randint(1, 4))]
    for _ in range(rng.randint(0, 14)):
        kind = rng.randrange(14)
        if kind < 4:
            low, high = rng.choice(blocks)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8))))
        elif kind == 4:
            low, high = rng.choice(blocks)
            parts.append(chr(rng.randint(low, high)) * rng.randint(1, 40))
        elif kind == 5:
            parts.append("".join(rng.choice(SPACES if rng.random() < 0.3 else " \n\t") for _ in range(rng.randint(1, 10))))
        elif kind == 6:
            parts.append(rng.choice("aeiouAEIOU\u0915\u4e00") + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4))))
        elif kind == 7:
            parts.append("".join(chr(rng.choice((rng.randrange(32), rng.randrange(0x7F, 0xA0)))) for _ in range(rng.randint(1, 3))))
        elif kind == 8:
            # What is left of surrogates and other broken bytes.
            broken = bytes(rng.randrange(0x80, 0x100) for _ in range(rng.randint(1, 6)))
            parts.append(broken.decode("utf-8", "replace"))
        elif kind == 9 and added:
            parts.append(rng.choice(added))
        elif kind == 10:
            parts.append(rng.choice(tokens))
        elif kind == 11:
            parts.append(str(rng.randrange(10 ** rng.randint(1, 9))))
        else:
            parts.append(rng.choice(PHRASES))
        if rng.random() < 0.4:
            parts.append(" ")
    text = "".join(parts)
    # Surrogates are no characters.
    return "".join(c for c in text if not 0xD800 <= ord(c) <= 0xDFFF)


def call(tool, command, folder, batch, *flags):
    result = subprocess.run([tool, command, folder, "--batch", *flags], input=json.dumps(batch).encode(), capture_output=True)
    if result.returncode != 0:
        raise SystemExit(f"{folder}: {result.stderr.decode(errors='replace')}")
    return json.loads(result.stdout)


class Report:
    def __init__(self, folder):
        self.folder, self.differences = folder, 0

    def compare(self, what, text, expected, found):
        if expected == found:
            return
        self.differences += 1
        if self.differences <= 5:
            print(f"{self.folder}: {what} of {text!r}\n  expected {expected!r}\n  found    {found!r}")


def check(tokenizers, tool, folder, count, seed):
    library = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    report = Report(folder)
    cases_file = os.path.join(folder, "cases.json")
    cases = []
    if os.path.exists(cases_file):
        with open(cases_file, encoding="utf-8") as file:
            stored = json.load(file)
        cases = [case for case in stored["cases"] if isinstance(case.get("text"), str)]
        found = call(tool, "tokenize", folder, [case["text"] for case in cases], "--no-special")
        # Where the ids come from a library that takes special tokens as text.
        plain = {text: ids for text, ids in zip(stored.get("hf_disagrees", []),
                                                call(tool, "tokenize", folder, stored.get("hf_disagrees", []), "--plain"))}
        for case, ids in zip(cases, found):
            ids = plain.get(case["text"], ids)
            report.compare("case", case["text"], case.get("plain_ids", case["ids"]), ids)
    rng = random.Random(seed)
    tokens = sorted(library.get_vocab(with_added_tokens=False))
    added = sorted(token.content for token in library.get_added_tokens_decoder().values())
    texts = [random_text(rng, tokens, added) for _ in range(count)]
    expected, kept = [], []
    for text in texts:
        try:
            expected.append(library.encode(text, add_special_tokens=False).ids)
            kept.append(text)
        except Exception as error:
            print(f"{folder}: the library refuses {text!r}: {error}")
    plain = call(tool, "tokenize", folder, kept, "--no-special")
    full = call(tool, "tokenize", folder, kept, "--type-ids")
    for text, ids, found, typed in zip(kept, expected, plain, full):
        report.compare("ids", text, ids, found)
        encoding = library.encode(text)
        report.compare("ids with special tokens", text, [encoding.ids, encoding.type_ids], [typed["ids"], typed["type_ids"]])
    for skip, flags in ((False, ()), (True, ("--no-special",))):
        for text, ids, found in zip(kept, expected, call(tool, "detokenize", folder, expected, *flags)):
            if ids:
                report.compare(f"text (skip special: {skip}) of ids {ids}", text, library.decode(ids, skip_special_tokens=skip), found)
    limit = library.get_vocab_size()
    lists = [[rng.randrange(limit) for _ in range(rng.randint(1, 30))] for _ in range(count // 10)]
    lists = [[i for i in ids if library.id_to_token(i) is not None] for ids in lists]
    lists = [ids for ids in lists if ids]
    for ids, found in zip(lists, call(tool, "detokenize", folder, lists)):
        try:
            text = library.decode(ids, skip_special_tokens=False)
        except BaseException:
            continue
        report.compare("text of random ids", ids, text, found)
    pairs = [[rng.choice(kept), rng.choice(kept)] for _ in range(count // 10)]
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as file:
        processor = json.load(file).get("post_processor") or {}
    if processor.get("type") != "TemplateProcessing" or processor.get("pair"):
        for pair, typed in zip(pairs, call(tool, "tokenize", folder, pairs, "--type-ids")):
            encoding = library.encode(*pair)
            report.compare("ids of a pair", pair, [encoding.ids, encoding.type_ids], [typed["ids"], typed["type_ids"]])
    print(f"{folder}: {len(cases)} cases, {len(kept)} texts, {len(lists)} random id lists, {len(pairs)} pairs: "
          f"{report.differences} differences", flush=True)
    return report.differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tool")
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    tokenizers = import_library()
    tool = arguments.tool or find_tool()
    print(f"tokenizers {tokenizers.__version__}, seed {arguments.seed}, {tool}")
    total = sum(check(tokenizers, tool, folder, arguments.count, arguments.seed) for folder in arguments.folders)
    print(f"{total} differences")
    sys.exit(total > 0)


main()
