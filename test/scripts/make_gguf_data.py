#!/usr/bin/env python3
"""Writes test/data/gguf: small GGUF files and what gguf-py makes of them.

Needs numpy and gguf (PyPI). Usage: make_gguf_data.py test/data/gguf
"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType, GGUFWriter, dequantize, quantize

SHAPE = (6, 96)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
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
