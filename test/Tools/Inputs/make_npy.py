#!/usr/bin/env python3
"""Writes an array as .npy: make_npy.py FILE DESCR SHAPE VALUE ...   (DESCR <i8 or <f4)"""
import struct
import sys

path, descr, shape, *values = sys.argv[1:]
kind = {"<i8": "q", "<f4": "f"}[descr]
extents = tuple(int(x) for x in shape.split("x"))
header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {extents}, }}"
header += " " * (-(len(header) + 11) % 64) + "\n"
convert = int if kind == "q" else float
count = 1
for extent in extents:
    count *= extent
numbers = [convert(v) for v in values] or [convert(1)] * count
with open(path, "wb") as file:
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
    file.write(struct.pack(f"<{len(numbers)}{kind}", *numbers))
