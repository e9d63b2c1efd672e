#!/usr/bin/env python3
"""Writes a Hugging Face Llama folder (f32, one file) as GGUF, as llama.cpp does.

usage: make_gguf.py SOURCE DESTINATION.gguf [CHANGE ...]
  set:KEY=JSON      sets or adds a metadata value (integers become u32)
  del:KEY           removes one
  drop:TENSOR       leaves a tensor out
  add:TENSOR        adds a copy of output_norm.weight under this name
  freqs:JSON        adds rope_freqs.weight with these values
  store:TENSOR=TYPE stores a tensor as F16, BF16, Q8_0, Q4_0 or Q4_1; TENSOR may
                    be "matrices"
  reference:FOLDER  also writes a Hugging Face folder with the values that the
                    stored tensors mean: bf16 numbers for the quantized types
  type:TENSOR=N     changes the type number that the header says
  shape:TENSOR=JSON changes the shape that the header says (rows first)
  bytes:OFFSET=HEX  overwrites bytes of the file
  cut:N             keeps the first N bytes of the file

llama3's rope scaling becomes the tensor rope_freqs.weight.
"""
import json
import math
import pathlib
import struct
import sys

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(item):
    """A value's type number and bytes."""
    if isinstance(item, bool):
        return BOOL, struct.pack("<B", item)
    if isinstance(item, int):
        return U32, struct.pack("<I", item)
    if isinstance(item, float):
        return F32, struct.pack("<f", item)
    if isinstance(item, str):
        return STRING, string(item)
    kind = value(item[0])[0]
    return ARRAY, struct.pack("<IQ", kind, len(item)) + b"".join(value(x)[1] for x in item)


def gguf_name(name):
    stem, _, suffix = name.rpartition(".")
    if stem in OUTER:
        return f"{OUTER[stem]}.{suffix}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.{suffix}"


def permute(data, rows, heads):
    """Rows of each head from halves order to interleaved order."""
    width = len(data) // rows
    row = lambda i: data[i * width : (i + 1) * width]
    size = rows // heads
    order = [h * size + i // 2 + (i % 2) * (size // 2) for h in range(heads) for i in range(size)]
    return b"".join(row(i) for i in order)


def f16(x):
    return struct.pack("<e", x)


def as_f16(x):
    return struct.unpack("<e", f16(x))[0]


def q8_0(block):
    scale = as_f16(max(map(abs, block)) / 127)
    return f16(scale) + bytes(round(x / scale) & 255 if scale else 0 for x in block)


def nibbles(values):
    """Element i and i + 16 share a byte."""
    return bytes(values[i] | values[i + 16] << 4 for i in range(16))


def q4_0(block):
    scale = as_f16(max(block, key=abs) / -8)
    return f16(scale) + nibbles([min(15, max(0, round(x / scale) + 8)) if scale else 8 for x in block])


def q4_1(block):
    low = as_f16(min(block))
    scale = as_f16((max(block) - low) / 15)
    return f16(scale) + f16(low) + nibbles([min(15, max(0, round((x - low) / scale))) if scale else 0 for x in block])


def bf16(x):
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.pack("<H", bits + 0x7FFF + (bits >> 16 & 1) >> 16)


BLOCKS = {"Q8_0": (8, q8_0), "Q4_0": (2, q4_0), "Q4_1": (3, q4_1)}
ELEMENTS = {"F16": (1, f16), "BF16": (30, bf16)}


def store(tensor, kind):
    shape, _, data = tensor
    values = struct.unpack(f"<{len(data) // 4}f", data)
    if kind in ELEMENTS:
        number, convert = ELEMENTS[kind]
        return shape, number, b"".join(map(convert, values))
    number, convert = BLOCKS[kind]
    assert shape[-1] % 32 == 0
    return shape, number, b"".join(convert(values[i : i + 32]) for i in range(0, len(values), 32))


def meaning(data, number):
    """The f32 numbers that a stored tensor's bytes mean."""
    if number == 0:
        return data
    if number == 1:
        return struct.pack(f"<{len(data) // 2}f", *struct.unpack(f"<{len(data) // 2}e", data))
    if number == 30:
        return b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
    values = []
    size = {8: 34, 2: 18, 3: 20}[number]
    for i in range(0, len(data), size):
        block = data[i : i + size]
        scale, low = struct.unpack("<ee", block[:4])
        if number == 8:
            values += [scale * q for q in struct.unpack("<32b", block[2:])]
            continue
        packed = block[-16:]
        quants = [b & 15 for b in packed] + [b >> 4 for b in packed]
        values += [scale * q + low if number == 3 else scale * (q - 8) for q in quants]
    return b"".join(b"\0\0" + bf16(x) for x in values)


def write_reference(source, folder, tensors):
    """The model of `source` with the meaning of `tensors`, rows as they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    raw = bytearray((source / "model.safetensors").read_bytes())
    length = struct.unpack("<Q", raw[:8])[0]
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + x for x in entry["data_offsets"])
        # Quantize again in this order of rows: blocks do not cross rows.
        kind = tensors[gguf_name(name)][1]
        original = (entry["shape"], 0, bytes(raw[begin:end]))
        names = {number: text for text, (number, _) in {**BLOCKS, **ELEMENTS}.items()}
        stored = store(original, names[kind]) if kind else original
        raw[begin:end] = meaning(stored[2], kind)
    (folder / "model.safetensors").write_bytes(raw)


def rope_divisors(rope, size):
    """What llama3's scaling divides each frequency by."""
    divisors = []
    for i in range(0, size, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / size)
        context, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
        if wave < context / high:
            divisors.append(1.0)
        elif wave > context / low:
            divisors.append(rope["factor"])
        else:
            smooth = (context / wave - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return divisors


def floats(values):
    return [len(values)], 0, struct.pack(f"<{len(values)}f", *values)


def read_model(folder):
    config = json.loads((folder / "config.json").read_text())
    raw = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        data = raw[8 + length + begin : 8 + length + end]
        for part, count in heads.items():
            if part in name:
                data = permute(data, entry["shape"][0], count)
        tensors[gguf_name(name)] = (entry["shape"], 0, data)
    if config["rope_parameters"]["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = floats(rope_divisors(config["rope_parameters"], config["head_dim"]))
    return config, tensors


def make_metadata(config, folder):
    rope = config["rope_parameters"]
    pairs = {
        "general.architecture": "llama",
        "llama.block_count": config["num_hidden_layers"],
        "llama.context_length": config["max_position_embeddings"],
        "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"],
        "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"],
        "llama.attention.key_length": config["head_dim"],
        "llama.attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "llama.rope.freq_base": rope["rope_theta"],
        "llama.rope.dimension_count": config["head_dim"],
        "llama.vocab_size": config["vocab_size"],
    }
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    for token in tokenizer["added_tokens"]:
        vocab[token["content"]] = token["id"]
    special = {token["id"] for token in tokenizer["added_tokens"] if token["special"]}
    tokens = sorted(vocab, key=vocab.get)
    merges = [" ".join(m) if isinstance(m, list) else m for m in tokenizer["model"]["merges"]]
    pairs |= {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "llama-bpe",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3 if i in special else 1 for i in range(len(tokens))],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": config["bos_token_id"],
        "tokenizer.ggml.eos_token_id": config["eos_token_id"],
        "tokenizer.chat_template": "{{ messages }}",
    }
    return pairs


def main():
    folder, path = map(pathlib.Path, sys.argv[1:3])
    config, tensors = read_model(folder)
    pairs = make_metadata(config, folder)
    numbers, shapes, patches, length = {}, {}, [], None
    for change in sys.argv[3:]:
        kind, _, rest = change.partition(":")
        name, _, text = rest.partition("=")
        if kind == "set":
            pairs[name] = json.loads(text)
        elif kind == "del":
            del pairs[name]
        elif kind == "drop":
            del tensors[name]
        elif kind == "add":
            tensors[name] = tensors["output_norm.weight"]
        elif kind == "freqs":
            tensors["rope_freqs.weight"] = floats(json.loads(rest))
        elif kind == "store":
            for chosen, tensor in tensors.items():
                if tensor[1] == 0 and (chosen == name or name == "matrices" and len(tensor[0]) == 2):
                    tensors[chosen] = store(tensor, text)
        elif kind == "reference":
            write_reference(folder, pathlib.Path(rest), tensors)
        elif kind == "type":
            numbers[name] = int(text)
        elif kind == "shape":
            shapes[name] = json.loads(text)
        elif kind == "bytes":
            patches.append((int(name), bytes.fromhex(text)))
        elif kind == "cut":
            length = int(rest)
        else:
            sys.exit(f"unknown change {change}")
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, item in pairs.items():
        kind, data = value(item)
        out += string(key) + struct.pack("<I", kind) + data
    body = b""
    for name, (shape, kind, data) in tensors.items():
        shape = shapes.get(name, shape)
        out += string(name) + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}Q", *reversed(shape))
        out += struct.pack("<IQ", numbers.get(name, kind), len(body))
        body += data + bytes(-len(data) % 32)
    out = bytearray(out + bytes(-len(out) % 32) + body)
    for offset, patch in patches:
        out[offset : offset + len(patch)] = patch
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out[:length])


main()
