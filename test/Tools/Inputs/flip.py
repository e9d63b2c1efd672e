#!/usr/bin/env python3
"""Copies a file with one bit changed: flip.py SOURCE DESTINATION OFFSET"""
import pathlib
import sys

data = bytearray(pathlib.Path(sys.argv[1]).read_bytes())
data[int(sys.argv[3])] ^= 1
pathlib.Path(sys.argv[2]).write_bytes(data)
