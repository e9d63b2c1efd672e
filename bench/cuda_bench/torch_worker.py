"""PyTorch's part of bench/gpu: a process that takes one work a line (JSON) and answers with the seconds of each repetition.
Eager or compiled (max-autotune, with CUDA graphs); products are cuBLASLt's, attention is SDPA's flash kernel."""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

DEVICE = sys.argv[1]
COMPILED = sys.argv[2] == "compile"
CUDA = DEVICE == "cuda"
DTYPE = torch.bfloat16


def seconds_of(function, repetitions, inner=1):
    """Of each repetition, per call; on a GPU by events."""
    for _ in range(3 if CUDA else 1):
        function()
    result = []
    for _ in range(repetitions):
        if CUDA:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            for _ in range(inner):
                function()
            end.record()
            torch.cuda.synchronize()
            result.append(start.elapsed_time(end) / 1e3 / inner)
        else:
            begin = time.perf_counter()
            for _ in range(inner):
                function()
            result.append((time.perf_counter() - begin) / inner)
    return result


def compiled(function):
    return torch.compile(function, mode="max-autotune", dynamic=False) if COMPILED else function


def random(*shape):
    return torch.rand(*shape, device=DEVICE, dtype=torch.float32).mul_(2).sub_(1).to(DTYPE)


def rms_norm(x, scale):
    return F.rms_norm(x, (x.shape[-1],), scale, 1e-5)


POINTWISE = {"copy": torch.abs, "gelu": F.gelu, "softmax": lambda x: torch.softmax(x, -1), "rms_norm": rms_norm}


class Llama:
    """The shapes of a Llama with random weights and a KV cache of fixed size, as plain as PyTorch has it."""

    def __init__(self, config):
        self.config = config
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.size = config.get("head_dim") or hidden // self.heads
        width = config["intermediate_size"]
        weight = lambda n, k: torch.empty(n, k, device=DEVICE, dtype=DTYPE).normal_(0, 0.02)
        ones = lambda: torch.ones(hidden, device=DEVICE, dtype=DTYPE)
        self.layers = [{
            "norm": ones(), "after": ones(),
            "qkv": weight((self.heads + 2 * self.kv_heads) * self.size, hidden), "out": weight(hidden, self.heads * self.size),
            "gate_up": weight(2 * width, hidden), "down": weight(hidden, width)} for _ in range(layers)]
        self.embedding = weight(config["vocab_size"], hidden)
        self.head = self.embedding if config.get("tie_word_embeddings") else weight(config["vocab_size"], hidden)
        self.norm = ones()
        frequency = 1.0 / config["rope_theta"] ** (torch.arange(0, self.size, 2, device=DEVICE).float() / self.size)
        self.frequency = frequency

    def cache(self, batch, length):
        shape = (batch, self.kv_heads, length, self.size)
        return [(torch.zeros(shape, device=DEVICE, dtype=DTYPE), torch.zeros(shape, device=DEVICE, dtype=DTYPE))
                for _ in self.layers]

    def rope(self, x, positions):
        angle = positions[:, None].float() * self.frequency
        cosine, sine = angle.cos().to(DTYPE), angle.sin().to(DTYPE)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)

    def forward(self, ids, positions, cache, mask):
        batch, tokens = ids.shape
        x = F.embedding(ids, self.embedding)
        for layer, (keys, values) in zip(self.layers, cache):
            y = rms_norm(x, layer["norm"])
            qkv = F.linear(y, layer["qkv"]).view(batch, tokens, -1, self.size).transpose(1, 2)
            q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), 1)
            q, k = self.rope(q, positions), self.rope(k, positions)
            if mask is None: # a prompt: what it sees is itself
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
                keys[:, :, :tokens], values[:, :, :tokens] = k, v
            else:
                keys.index_copy_(2, positions, k)
                values.index_copy_(2, positions, v)
                y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
            x = x + F.linear(y.transpose(1, 2).reshape(batch, tokens, -1), layer["out"])
            gate, up = F.linear(rms_norm(x, layer["after"]), layer["gate_up"]).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, layer["down"])
        return F.linear(rms_norm(x[:, -1], self.norm), self.head)


MODEL = {}


def model(name, config):
    if name not in MODEL:
        MODEL.clear()
        if CUDA:
            torch.cuda.empty_cache()
        MODEL[name] = Llama(config)
    return MODEL[name]


@torch.no_grad()
def measure(work):
    kind, repetitions = work["kind"], work["repetitions"]
    if kind == "copy":
        source = torch.empty(work["bytes"] // 2, device=DEVICE, dtype=torch.uint8)
        target = torch.empty_like(source)
        return seconds_of(lambda: target.copy_(source), repetitions, 5)
    if kind == "gemm":
        a, w = random(work["M"], work["K"]), random(work["N"], work["K"])
        function = compiled(lambda a, w: F.linear(a, w))
        return seconds_of(lambda: function(a, w), repetitions, 5)
    if kind == "pointwise":
        inputs = [random(work["rows"], work["columns"])]
        if work["name"] == "rms_norm":
            inputs.append(random(work["columns"]))
        function = compiled(POINTWISE[work["name"]])
        return seconds_of(lambda: function(*inputs), repetitions, 5)
    if kind == "attention":
        batch, tokens, heads, kv_heads, size = work["shape"]
        q, k, v = random(batch, heads, tokens, size), random(batch, kv_heads, tokens, size), random(batch, kv_heads, tokens, size)
        attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        if CUDA:
            from torch.nn.attention import SDPBackend, sdpa_kernel

            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return seconds_of(attend, repetitions, 5)
        return seconds_of(attend, repetitions)
    llama = model(work["model"], work["config"])
    if kind == "prefill":
        ids = torch.randint(0, work["config"]["vocab_size"], (1, work["tokens"]), device=DEVICE)
        positions = torch.arange(work["tokens"], device=DEVICE)
        cache = llama.cache(1, work["tokens"])
        function = compiled(lambda ids, positions: llama.forward(ids, positions, cache, None))
        return seconds_of(lambda: function(ids, positions), repetitions)
    if kind == "decode":
        batch, depth = work["batch"], work["depth"]
        length = depth + work["tokens"]
        cache = llama.cache(batch, length)
        ids = torch.randint(0, work["config"]["vocab_size"], (batch, 1), device=DEVICE)
        position = torch.tensor([length - 1], device=DEVICE)
        mask = (torch.arange(length, device=DEVICE) <= position).view(1, 1, 1, length)
        function = compiled(lambda ids, position, mask: llama.forward(ids, position, cache, mask))
        return seconds_of(lambda: function(ids, position, mask), repetitions, work["tokens"])
    raise ValueError(f"unknown work {kind}")


def main():
    torch.manual_seed(0)
    name = torch.cuda.get_device_name(0) if CUDA else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": name}), flush=True)
    for line in sys.stdin:
        try:
            answer = {"seconds": measure(json.loads(line))}
            if any(not math.isfinite(value) or value <= 0 for value in answer["seconds"]):
                answer = {"error": "no time was measured"}
        except Exception as error: # whatever PyTorch cannot do is a peer that is missing
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            torch._dynamo.reset()
        print(json.dumps(answer), flush=True)


main()
