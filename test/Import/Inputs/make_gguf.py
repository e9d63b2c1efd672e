#!/usr/bin/env python3
"""Writes a Hugging Face Llama folder (f32, one file) as GGUF, as llama.cpp does.

usage: make_gguf.py SOURCE DESTINATION.gguf [CHANGE ...]
  set:KEY=JSON      sets or adds a metadata value (integers become u32)
  del:KEY           removes one
  drop:TENSOR       leaves a tensor out
  add:TENSOR        adds a copy of output_norm.weight under this name
  freqs:JSON        adds rope_freqs.weight with these values
  quantize:TENSOR   stores a tensor as Q8_0
"""
import json
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


def quantize(data):
    out = b""
    for begin in range(0, len(data), 128):
        block = struct.unpack("<32f", data[begin : begin + 128])
        scale = max(abs(x) for x in block) / 127
        scale = struct.unpack("<e", struct.pack("<e", scale))[0]
        out += struct.pack("<e", scale)
        out += struct.pack("<32b", *(max(-127, min(127, round(x / scale))) if scale else 0 for x in block))
    return out


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
            values = json.loads(rest)
            tensors["rope_freqs.weight"] = ([len(values)], 0, struct.pack(f"<{len(values)}f", *values))
        elif kind == "quantize":
            shape, _, data = tensors[name]
            tensors[name] = (shape, 8, quantize(data))
        else:
            sys.exit(f"unknown change {change}")
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, item in pairs.items():
        kind, data = value(item)
        out += string(key) + struct.pack("<I", kind) + data
    offset, body = 0, b""
    for name, (shape, kind, data) in tensors.items():
        out += string(name) + struct.pack("<I", len(shape))
        out += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", kind, len(body))
        body += data + bytes(-len(data) % 32)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out + bytes(-len(out) % 32) + body)


main()
