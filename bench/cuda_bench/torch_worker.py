"""PyTorch's part of bench/gpu: a process that takes one work a line (JSON) and answers with the seconds of each repetition.
Eager, or compiled with max-autotune and launched as CUDA graphs. Products are cuBLASLt's (or what max-autotune prefers), attention
is SDPA's flash kernel. Of a model one layer is compiled, which all layers share, and a whole step is one CUDA graph: what
compiling the whole step gives, without minutes of compiling 32 equal layers."""
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


def synchronize():
    if CUDA:
        torch.cuda.synchronize()


def as_graph(function, calls):
    """`calls` calls as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            function()
    return graph.replay


def seconds_of(function, repetitions, inner=1, graph=False):
    """Of each repetition, per call; on a GPU by events. `graph`: the calls of a repetition are one CUDA graph."""
    for _ in range(3 if CUDA else 1):
        function()
    synchronize()
    if CUDA and graph:
        replay = as_graph(function, inner)
        replay()
    else:
        def replay():
            for _ in range(inner):
                function()
    result = []
    for _ in range(repetitions):
        if CUDA:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            replay()
            end.record()
            torch.cuda.synchronize()
            result.append(start.elapsed_time(end) / 1e3 / inner)
        else:
            begin = time.perf_counter()
            replay()
            result.append((time.perf_counter() - begin) / inner)
    return result


def compiled(function):
    """Without Inductor's own CUDA graphs, which would copy every input in each call."""
    return torch.compile(function, mode="max-autotune-no-cudagraphs", dynamic=False) if COMPILED else function


def random(*shape):
    return torch.rand(*shape, device=DEVICE, dtype=torch.float32).mul_(2).sub_(1).to(DTYPE)


def rms_norm(x, scale):
    return F.rms_norm(x, (x.shape[-1],), scale, 1e-5)


POINTWISE = {"copy": torch.abs, "gelu": F.gelu, "softmax": lambda x: torch.softmax(x, -1), "rms_norm": rms_norm,
             "transpose": lambda x: x.t().contiguous(), "column_sum": lambda x: x.sum(0),
             "long_softmax": lambda x: torch.softmax(x, -1)}


def grouped(q, k, v, causal):
    """Attention of query heads that share keys."""
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)


def rope(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


def block(x, norm, after, qkv, out, gate_up, down, keys, values, cosine, sine, positions, heads, kv_heads, size, prompt):
    """One layer. Its keys and values go into a cache of fixed size; a prompt sees itself, a decode step the whole cache, at whose
    end its token is."""
    batch, tokens, _ = x.shape
    y = F.linear(rms_norm(x, norm), qkv).view(batch, tokens, -1, size).transpose(1, 2)
    q, k, v = y.split((heads, kv_heads, kv_heads), 1)
    q, k = rope(q, cosine, sine), rope(k, cosine, sine)
    keys.index_copy_(2, positions, k)
    values.index_copy_(2, positions, v)
    y = grouped(q, k, v, True) if prompt else grouped(q, keys, values, False)
    x = x + F.linear(y.transpose(1, 2).reshape(batch, tokens, -1), out)
    gate, up = F.linear(rms_norm(x, after), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


class Llama:
    """The shapes of a Llama with random weights and a KV cache of fixed size, as plain as PyTorch has it."""

    def __init__(self, config):
        hidden, layers = config["hidden_size"], config["num_hidden_layers"]
        self.layer_count = layers
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.size = config.get("head_dim") or hidden // self.heads
        width = config["intermediate_size"]

        def weight(n, k):
            return torch.empty(n, k, device=DEVICE, dtype=DTYPE).normal_(0, 0.02)

        def ones():
            return torch.ones(hidden, device=DEVICE, dtype=DTYPE)

        self.layers = [(ones(), ones(), weight((self.heads + 2 * self.kv_heads) * self.size, hidden),
                        weight(hidden, self.heads * self.size), weight(2 * width, hidden), weight(hidden, width))
                       for _ in range(layers)]
        self.embedding = weight(config["vocab_size"], hidden)
        self.head = self.embedding if config.get("tie_word_embeddings") else weight(config["vocab_size"], hidden)
        self.norm = ones()
        self.frequency = 1.0 / config["rope_theta"] ** (torch.arange(0, self.size, 2, device=DEVICE).float() / self.size)
        self.block = compiled(block)
        self.logits = compiled(lambda x, norm, head: F.linear(rms_norm(x[:, -1], norm), head))

    def cache(self, batch, length):
        shape = (batch, self.kv_heads, length, self.size)
        return [(torch.zeros(shape, device=DEVICE, dtype=DTYPE), torch.zeros(shape, device=DEVICE, dtype=DTYPE))
                for _ in range(self.layer_count)]

    def forward(self, ids, positions, cache, prompt):
        x = F.embedding(ids, self.embedding)
        angle = positions[:, None].float() * self.frequency
        cosine, sine = angle.cos().to(DTYPE), angle.sin().to(DTYPE)
        for layer, (keys, values) in zip(self.layers, cache):
            x = self.block(x, *layer, keys, values, cosine, sine, positions, self.heads, self.kv_heads, self.size, prompt)
        return self.logits(x, self.norm, self.head)


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
        return seconds_of(lambda: function(a, w), repetitions, 10, graph=True)
    if kind == "pointwise":
        inputs = [random(work["rows"], work["columns"])]
        if work["name"] == "rms_norm":
            inputs.append(random(work["columns"]))
        function = compiled(POINTWISE[work["name"]])
        return seconds_of(lambda: function(*inputs), repetitions, 10, graph=True)
    if kind == "attention":
        batch, tokens, heads, kv_heads, size = work["shape"]
        q, k, v = random(batch, heads, tokens, size), random(batch, kv_heads, tokens, size), random(batch, kv_heads, tokens, size)
        if CUDA:
            from torch.nn.attention import SDPBackend, sdpa_kernel

            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                return seconds_of(lambda: grouped(q, k, v, True), repetitions, 5)
        return seconds_of(lambda: grouped(q, k, v, True), repetitions)
    if kind not in ("prefill", "decode"):
        raise ValueError(f"unknown work {kind}")
    llama = model(work["model"], work["config"])
    prompt = kind == "prefill"
    if prompt:
        batch, tokens, inner = 1, work["tokens"], 1
        cache = llama.cache(1, tokens)
        positions = torch.arange(tokens, device=DEVICE)
    else:
        batch, tokens, inner = work["batch"], 1, work["tokens"]
        length = work["depth"] + work["tokens"]
        cache = llama.cache(batch, length)
        positions = torch.tensor([length - 1], device=DEVICE)
    ids = torch.randint(0, work["config"]["vocab_size"], (batch, tokens), device=DEVICE)
    return seconds_of(lambda: llama.forward(ids, positions, cache, prompt), repetitions, inner, graph=COMPILED)


def main():
    torch.manual_seed(0)
    # Each shape is compiled by itself.
    torch._dynamo.config.recompile_limit = 256
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
            MODEL.clear()
        print(json.dumps(answer), flush=True)


main()
