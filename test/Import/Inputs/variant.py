#!/usr/bin/env python3
"""Copies a Hugging Face folder with changes, to test an importer's errors.

usage: variant.py SOURCE DESTINATION [CHANGE ...]
  set:KEY=JSON          sets a key of config.json (KEY may be A.B)
  del:KEY               removes one
  drop:TENSOR           removes a tensor from model.safetensors
  add:TENSOR            adds a copy of model.norm.weight under this name
  shape:TENSOR=JSON     changes the shape that the header says
  dtype:TENSOR=NAME     changes the type that the header says
  offsets:TENSOR=JSON   changes the extent that the header says
  unlist:TENSOR         removes a tensor from the index of the shards
  cut:FILE=N            keeps the first N bytes of a file
  hex:FILE=HEX          overwrites a file's first bytes
  write:FILE=TEXT       writes a file
  remove:FILE           removes one
"""
import json
import pathlib
import shutil
import struct
import sys


def read_header(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def change_tensors(path, kind, name, value):
    header, data = read_header(path)
    if kind == "drop":
        del header[name]
    elif kind == "add":
        entry = dict(header["model.norm.weight"])
        begin, end = entry["data_offsets"]
        entry["data_offsets"] = [len(data), len(data) + end - begin]
        data += data[begin:end]
        header[name] = entry
    elif kind == "shape":
        header[name]["shape"] = json.loads(value)
    elif kind == "offsets":
        header[name]["data_offsets"] = json.loads(value)
    else:
        header[name]["dtype"] = value
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    source, folder = map(pathlib.Path, sys.argv[1:3])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in source.iterdir():
        if not file.name.startswith("expected"):
            (folder / file.name).write_bytes(file.read_bytes())
    config_path = folder / "config.json"
    for change in sys.argv[3:]:
        kind, _, rest = change.partition(":")
        name, _, value = rest.partition("=")
        if kind in ("set", "del"):
            config = json.loads(config_path.read_text())
            *outer, key = name.split(".")
            target = config
            for part in outer:
                target = target.setdefault(part, {})
            if kind == "set":
                target[key] = json.loads(value)
            else:
                del target[key]
            config_path.write_text(json.dumps(config))
        elif kind == "write":
            (folder / name).write_text(value)
        elif kind == "cut":
            (folder / name).write_bytes((folder / name).read_bytes()[: int(value)])
        elif kind == "hex":
            data = bytes.fromhex(value)
            (folder / name).write_bytes(data + (folder / name).read_bytes()[len(data) :])
        elif kind == "unlist":
            path = folder / "model.safetensors.index.json"
            index = json.loads(path.read_text())
            del index["weight_map"][name]
            path.write_text(json.dumps(index))
        elif kind == "remove":
            (folder / name).unlink()
        else:
            change_tensors(folder / "model.safetensors", kind, name, value)


main()
