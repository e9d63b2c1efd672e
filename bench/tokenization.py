#!/usr/bin/env python3
"""Measures how fast mlsys and Hugging Face's tokenizers library encode the same text, on one thread each.

usage: tokenization.py [--rounds N] [--tool PATH] [--out FILE] FOLDER ...

The text is about 2 MB: this project's documents and sources, and made-up prose in fourteen languages, as documents of a
few KB. Both load the tokenizer anew in each round and encode every document once; rounds alternate, and medians are
compared, of elapsed time and of CPU time (which other work on the machine disturbs less). Of the library the faster of
encode and encode_batch_fast counts, without parallelism. Loading is not timed.
"""
import argparse
import json
import os
import pathlib
import platform
import random
import re
import statistics
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROSE = {
    "en": "the report says that most of the houses near the river were built before the war and have not been repaired since",
    "de": "der Bericht sagt dass die meisten H\u00e4user am Flu\u00df vor dem Krieg gebaut und seitdem nicht ausgebessert wurden",
    "fr": "le rapport dit que la plupart des maisons pr\u00e8s de la rivi\u00e8re ont \u00e9t\u00e9 construites avant la guerre et jamais r\u00e9par\u00e9es",
    "es": "el informe dice que la mayor\u00eda de las casas cerca del r\u00edo se construyeron antes de la guerra y no se han reparado",
    "pl": "raport m\u00f3wi \u017ce wi\u0119kszo\u015b\u0107 dom\u00f3w nad rzek\u0105 zbudowano przed wojn\u0105 i od tego czasu ich nie naprawiano",
    "ru": "\u0432 \u043e\u0442\u0447\u0451\u0442\u0435 \u0433\u043e\u0432\u043e\u0440\u0438\u0442\u0441\u044f \u0447\u0442\u043e \u0431\u043e\u043b\u044c\u0448\u0438\u043d\u0441\u0442\u0432\u043e \u0434\u043e\u043c\u043e\u0432 \u0443 \u0440\u0435\u043a\u0438 \u043f\u043e\u0441\u0442\u0440\u043e\u0435\u043d\u044b \u0434\u043e \u0432\u043e\u0439\u043d\u044b",
    "el": "\u03b7 \u03b1\u03bd\u03b1\u03c6\u03bf\u03c1\u03ac \u03bb\u03ad\u03b5\u03b9 \u03cc\u03c4\u03b9 \u03c4\u03b1 \u03c3\u03c0\u03af\u03c4\u03b9\u03b1 \u03ba\u03bf\u03bd\u03c4\u03ac \u03c3\u03c4\u03bf \u03c0\u03bf\u03c4\u03ac\u03bc\u03b9 \u03c7\u03c4\u03af\u03c3\u03c4\u03b7\u03ba\u03b1\u03bd",
    "ar": "\u064a\u0642\u0648\u0644 \u0627\u0644\u062a\u0642\u0631\u064a\u0631 \u0625\u0646 \u0645\u0639\u0638\u0645 \u0627\u0644\u0628\u064a\u0648\u062a \u0642\u0631\u0628 \u0627\u0644\u0646\u0647\u0631 \u0628\u0646\u064a\u062a \u0642\u0628\u0644 \u0627\u0644\u062d\u0631\u0628",
    "he": "\u05d4\u05d3\u05d5\u05d7 \u05d0\u05d5\u05de\u05e8 \u05e9\u05e8\u05d5\u05d1 \u05d4\u05d1\u05ea\u05d9\u05dd \u05dc\u05d9\u05d3 \u05d4\u05e0\u05d4\u05e8 \u05e0\u05d1\u05e0\u05d5 \u05dc\u05e4\u05e0\u05d9 \u05d4\u05de\u05dc\u05d7\u05de\u05d4",
    "hi": "\u0930\u093f\u092a\u094b\u0930\u094d\u091f \u0915\u0939\u0924\u0940 \u0939\u0948 \u0915\u093f \u0928\u0926\u0940 \u0915\u0947 \u092a\u093e\u0938 \u0905\u0927\u093f\u0915\u0924\u0930 \u0918\u0930 \u092f\u0941\u0926\u094d\u0927 \u0938\u0947 \u092a\u0939\u0932\u0947 \u092c\u0928\u0947 \u0925\u0947",
    "zh": "\u62a5\u544a \u8bf4 \u6cb3\u8fb9 \u7684 \u5927\u591a\u6570 \u623f\u5c4b \u90fd\u662f \u5728 \u6218\u4e89 \u4e4b\u524d \u5efa\u9020 \u7684 \u6b64\u540e \u6ca1\u6709 \u4fee\u7406 \u8fc7",
    "ja": "\u5831\u544a \u306b \u3088\u308b\u3068 \u5ddd \u306e \u8fd1\u304f \u306e \u5bb6 \u306e \u307b\u3068\u3093\u3069 \u306f \u6226\u4e89 \u306e \u524d \u306b \u5efa\u3066\u3089\u308c\u305f",
    "ko": "\ubcf4\uace0\uc11c\uc5d0 \ub530\ub974\uba74 \uac15 \uadfc\ucc98\uc758 \uc9d1 \ub300\ubd80\ubd84\uc740 \uc804\uc7c1 \uc804\uc5d0 \uc9c0\uc5b4\uc84c\ub2e4",
    "th": "\u0e23\u0e32\u0e22\u0e07\u0e32\u0e19 \u0e01\u0e25\u0e48\u0e32\u0e27 \u0e27\u0e48\u0e32 \u0e1a\u0e49\u0e32\u0e19 \u0e2a\u0e48\u0e27\u0e19\u0e43\u0e2b\u0e0d\u0e48 \u0e43\u0e01\u0e25\u0e49 \u0e41\u0e21\u0e48\u0e19\u0e49\u0e33 \u0e2a\u0e23\u0e49\u0e32\u0e07 \u0e01\u0e48\u0e2d\u0e19 \u0e2a\u0e07\u0e04\u0e23\u0e32\u0e21",
}
JOINED = ("zh", "ja", "th")  # Written without spaces.


def prose(language, rng, size):
    words, text = PROSE[language].split(), ""
    while len(text.encode()) < size:
        sentence = [rng.choice(words) for _ in range(rng.randint(5, 18))]
        if rng.random() < 0.3:
            sentence.insert(rng.randrange(len(sentence)), str(rng.randrange(3000)))
        joined = ("" if language in JOINED else " ").join(sentence)
        text += joined[0].upper() + joined[1:] + ("\u3002" if language in JOINED else rng.choice((". ", ", ", ".\n")))
    return text


def documents():
    rng = random.Random(5)
    result = []
    names = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))]
    names += sorted(str(p.relative_to(ROOT)) for p in (ROOT / "runtime").glob("*.cpp"))
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        result += [text[i:i + 8000] for i in range(0, len(text), 8000)]
    for language in PROSE:
        result += [prose(language, rng, 6000) for _ in range(10)]
    rng.shuffle(result)
    return result


def measure_library(path, texts):
    seconds = []
    for encode in (lambda t: [t.encode(text, add_special_tokens=False) for text in texts],
                   lambda t: t.encode_batch_fast(texts, add_special_tokens=False)):
        tokenizer = tokenizers.Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        start, cpu_start = time.perf_counter(), time.process_time()
        encode(tokenizer)
        seconds.append((time.perf_counter() - start, time.process_time() - cpu_start))
    return tuple(map(min, zip(*seconds)))


def measure_tool(tool, folder, batch):
    result = subprocess.run([tool, "tokenize", folder, "--batch", "--timing", "--no-special"], input=batch, capture_output=True, check=True)
    return tuple(map(float, re.search(rb"in ([0-9.]+) s, ([0-9.]+) s of CPU", result.stderr).groups()))


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tool", default=str(ROOT / "build" / "release" / "bin" / "mlsys-run"))
    parser.add_argument("--out")
    parser.add_argument("folders", nargs="+")
    arguments = parser.parse_args()
    texts = documents()
    size = sum(len(text.encode()) for text in texts)
    batch = json.dumps(texts).encode()
    load = os.getloadavg()[0]
    rows = []
    for folder in arguments.folders:
        path = os.path.join(folder, "tokenizer.json")
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(measure_tool(arguments.tool, folder, batch))
            theirs.append(measure_library(path, texts))
        row = {"tokenizer": os.path.basename(folder.rstrip("/"))}
        for name, times in (("mlsys", ours), ("tokenizers", theirs)):
            for kind, values in zip(("elapsed", "cpu"), zip(*times)):
                row[f"{name}_{kind}_mb_per_s"] = round(size / 1e6 / statistics.median(values), 2)
        for kind in ("elapsed", "cpu"):
            row[f"{kind}_ratio"] = round(row[f"mlsys_{kind}_mb_per_s"] / row[f"tokenizers_{kind}_mb_per_s"], 1)
        rows.append(row)
        print("{tokenizer:>18}  elapsed: mlsys {mlsys_elapsed_mb_per_s} MB/s, tokenizers {tokenizers_elapsed_mb_per_s} MB/s, {elapsed_ratio}x; "
              "CPU time: {mlsys_cpu_mb_per_s}, {tokenizers_cpu_mb_per_s}, {cpu_ratio}x".format(**row), flush=True)
    if arguments.out:
        result = {"cpu": cpu_name(), "cores": os.cpu_count(), "load_before": round(load, 2), "load_after": round(os.getloadavg()[0], 2),
                  "text_bytes": size, "documents": len(texts), "rounds": arguments.rounds, "tokenizers_version": tokenizers.__version__,
                  "threads": 1, "statistic": "median", "results": rows}
        pathlib.Path(arguments.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


main()
