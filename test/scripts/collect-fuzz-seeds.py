#!/usr/bin/env python3
"""Collects the small files of test/data that the fuzz targets begin with.

Usage: collect-fuzz-seeds.py FOLDER (see scripts/fuzz)
"""
import hashlib
import json
import pathlib
import shutil
import sys

LIMIT = 20480


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    data = root / "test" / "data"
    out = pathlib.Path(sys.argv[1])
    shutil.rmtree(out, ignore_errors=True)

    def add(target, content):
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        if 0 < len(content) <= LIMIT:
            (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)

    def add_files(target, pattern):
        for path in sorted(data.glob(pattern)):
            if path.stat().st_size <= LIMIT:
                add(target, path.read_bytes())

    add_files("gguf", "gguf/**/*.gguf")
    add_files("tokenizer", "**/tokenizer.json")
    add_files("template", "chat/*.jinja")
    add_files("config", "**/config.json")
    add_files("safetensors", "**/*.safetensors")
    add_files("safetensors", "**/*.safetensors.index.json")
    # Headers of larger files, with as much of the data as fits.
    for path in sorted(data.glob("**/*.safetensors")):
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        if len(content) > LIMIT and size < LIMIT // 2:
            add("safetensors", content[: 8 + size])
    chat = json.loads((data / "chat" / "cases.json").read_text())
    for text in chat["templates"].values():
        add("template", text.encode())
    for case in chat["cases"]:
        if "source" in case:
            add("template", case["source"].encode() + b"\0" + json.dumps(case["variables"]).encode())
    for target in sorted((root / "test" / "fuzz" / "seeds").glob("*")):
        for path in sorted(target.iterdir()):
            add(target.name, path.read_bytes())


main()
