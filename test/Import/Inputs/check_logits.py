#!/usr/bin/env python3
"""Compares the interpreter's logits of a model with a folder's expected ones.

usage: check_logits.py MODEL EXPECTED [--tolerance T] [IMPORT FLAG ...]

MODEL is imported, and @forward is called with the expected input_ids: those of
EXPECTED/expected.safetensors or of EXPECTED/expected_*.npy. The largest
difference over the largest value must be below the tolerance.
"""
import ast
import json
import math
import pathlib
import struct
import subprocess
import sys
import tempfile

FORMATS = {"F32": "f", "I64": "q", "<f4": "f", "<i8": "q"}


def unpack(kind, data):
    return list(struct.unpack(f"<{len(data) // struct.calcsize(FORMATS[kind])}{FORMATS[kind]}", data))


def read_safetensors(path, name):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    entry = json.loads(raw[8 : 8 + length])[name]
    begin, end = entry["data_offsets"]
    return entry["shape"], unpack(entry["dtype"], raw[8 + length + begin : 8 + length + end])


def read_npy(path):
    raw = path.read_bytes()
    assert raw[:7] == b"\x93NUMPY\x01", path
    length = struct.unpack("<H", raw[8:10])[0]
    header = ast.literal_eval(raw[10 : 10 + length].decode())
    assert not header["fortran_order"], path
    return list(header["shape"]), unpack(header["descr"], raw[10 + length :])


def read_expected(folder):
    tensors = folder / "expected.safetensors"
    if tensors.exists():
        return read_safetensors(tensors, "input_ids"), read_safetensors(tensors, "logits")
    return read_npy(folder / "expected_input_ids.npy"), read_npy(folder / "expected_logits.npy")


def main():
    model, folder, *flags = sys.argv[1:]
    tolerance = 1e-4
    if flags[:1] == ["--tolerance"]:
        tolerance = float(flags[1])
        flags = flags[2:]
    (ids_shape, ids), (shape, expected) = read_expected(pathlib.Path(folder))
    if len(ids_shape) == 1:
        ids_shape = [1] + ids_shape
    kind = "x".join(map(str, ids_shape)) + "xi64"
    rows, width = ids_shape
    nested = [ids[r * width : (r + 1) * width] for r in range(rows)]
    with tempfile.NamedTemporaryFile(suffix=".mlir") as graph:
        subprocess.run(["mlsys-translate", "--import", model, "-o", graph.name, *flags], check=True)
        text = subprocess.run(
            ["mlsys-translate", "--interpret", graph.name, "--function", "forward",
             "--input", f"dense<{nested}> : tensor<{kind}>"],
            check=True, capture_output=True, text=True).stdout
    head, _, numbers = text.split("\n")[1].partition(":")
    values = [float(x) for x in numbers.split()]
    wanted = math.prod(shape)
    assert len(values) == wanted == len(expected), f"{head}, expected {shape}"
    assert all(map(math.isfinite, values)), "logits are not finite"
    worst = max(abs(a - b) for a, b in zip(values, expected)) / max(map(abs, expected))
    print(f"{model}: {head}, worst difference {worst:.3g}")
    sys.exit(worst >= tolerance)


main()
