#!/usr/bin/env python3
"""Writes test/data/gguf: small GGUF files and what gguf-py makes of them.

Needs numpy and gguf (PyPI).
Usage: make_gguf_data.py test/data/gguf
       make_gguf_data.py --grids     (the words of runtime/DequantizeGrids.cpp)
"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGML_QUANT_SIZES, GGUFValueType, GGUFWriter, dequantize, quants, quantize

SHAPE = (6, 96)

BLOCK_TYPES = [kind for kind, (elements, _) in GGML_QUANT_SIZES.items() if elements > 1 and kind != Type.Q8_1]
# Blocks of each type that are stored with their elements, and drawn for its checksum.
STORED_BLOCKS, DRAWN_BLOCKS = 6, 1024


def draw_bytes(seed, count):
    """splitmix64's numbers from `seed` as bytes."""
    with np.errstate(over="ignore"):
        x = np.uint64(seed) + np.arange(1, count // 8 + 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x.view(np.uint8)[:count]


def elements_of(blocks, kind):
    """gguf-py's elements; of the types that it does not convert, from their definition."""
    with np.errstate(all="ignore"):
        if kind == Type.Q8_K:
            return blocks[:, :4].copy().view(np.float32) * blocks[:, 4:260].view(np.int8).astype(np.float32)
        if kind == Type.Q1_0:
            bits = np.unpackbits(blocks[:, 2:], axis=-1, bitorder="little").astype(np.float32)
            return blocks[:, :2].copy().view(np.float16).astype(np.float32) * (2 * bits - 1)
        return dequantize(blocks, kind).astype(np.float32)


def checksum(values):
    words = values.reshape(-1).view(np.uint32).copy()
    words[np.isnan(values.reshape(-1))] = 0x7FC00000
    with np.errstate(over="ignore"):
        weights = np.arange(words.size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1)
        return int((words.astype(np.uint64) * weights).sum(dtype=np.uint64))


def write_blocks(path):
    """blocks.gguf: of every block type TYPE the tensors TYPE and TYPE.f32 (its
    elements), and the metadata TYPE.number (ggml's) and TYPE.checksum of drawn blocks' elements."""
    writer = GGUFWriter(str(path), "llama")
    for kind in BLOCK_TYPES:
        name = kind.name.lower()
        elements, size = GGML_QUANT_SIZES[kind]
        blocks = draw_bytes(int(kind), STORED_BLOCKS * size).reshape(STORED_BLOCKS, size).copy()
        blocks[-2] = 0
        blocks[-1] = 255
        writer.add_tensor(name, blocks.reshape(1, -1), raw_dtype=kind)
        writer.add_tensor(name + ".f32", elements_of(blocks, kind).reshape(1, -1))
        drawn = draw_bytes(1000 + int(kind), DRAWN_BLOCKS * size).reshape(DRAWN_BLOCKS, size)
        writer.add_uint32(name + ".number", int(kind))
        writer.add_uint64(name + ".checksum", checksum(elements_of(drawn, kind)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def print_grids():
    for name in ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"):
        kind = getattr(quants, name)
        kind.init_grid()
        values = [int(value) for value in kind.grid_map]
        bits = 3 if len(values) == 8 else 2
        words = [sum(values.index(int(value)) << (bits * i) for i, value in enumerate(row))
                 for row in kind.grid.reshape(kind.grid_shape)]
        print(name, values, words)


def main():
    if sys.argv[1] == "--grids":
        return print_grids()
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write_blocks(out / "blocks.gguf")
    rng = np.random.default_rng(7)
    writer = GGUFWriter(str(out / "types.gguf"), "llama")
    writer.add_name("types")
    writer.add_custom_alignment(64)
    writer.add_uint8("t.u8", 200)
    writer.add_int8("t.i8", -100)
    writer.add_uint16("t.u16", 60000)
    writer.add_int16("t.i16", -30000)
    writer.add_uint32("t.u32", 4000000000)
    writer.add_int32("t.i32", -2000000000)
    writer.add_uint64("t.u64", 2**63 + 5)
    writer.add_int64("t.i64", -(2**62))
    writer.add_float32("t.f32", 0.25)
    writer.add_float64("t.f64", 1e300)
    writer.add_bool("t.bool", True)
    writer.add_string("t.string", "h\u00e9llo")
    writer.add_array("t.strings", ["a", "", "\u0120the"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -1.5])
    writer.add_array("t.bools", [True, False])
    writer.add_key_value("t.nested", [[1, 2], [3]], GGUFValueType.ARRAY)
    values = rng.standard_normal(SHAPE).astype(np.float32)
    values[0, :32] = 0  # a block with scale 0
    values[1, :32] *= 1e-6  # scales below the normal f16 range
    values[2, :32] *= 1e4
    for kind in (Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1):
        stored = quantize(values, kind)
        name = kind.name.lower()
        if kind in (Type.F32, Type.F16):
            writer.add_tensor(name, stored)
        else:
            writer.add_tensor(name, stored, raw_dtype=kind)
        np.save(out / f"{name}.npy", dequantize(stored, kind).reshape(SHAPE).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
