"""What is measured: each work has an amount, so that seconds become a rate."""
import json
import os
from dataclasses import asdict, dataclass, field

from .places import BENCH


@dataclass
class Work:
    key: str
    group: str
    kind: str  # decode, prefill, encode, pointwise, gemm
    dtype: str
    unit: str  # tok/s, ms, GB/s, TFLOP/s
    amount: float  # of one run, in the unit; of ms: 1000
    model: str = ""
    shape: dict = field(default_factory=dict)
    bytes: float = 0  # that one run has to move
    flops: float = 0

    def value(self, seconds):
        return seconds * 1e3 if self.unit == "ms" else self.amount / seconds

    def to_json(self):
        return asdict(self)


def read_config(model):
    with open(os.path.join(BENCH, "models", model, "config.json")) as file:
        return json.load(file)


def layer_parameters(config):
    hidden, width = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head = config.get("head_dim") or hidden // heads
    return hidden * head * (2 * heads + 2 * kv_heads) + 3 * hidden * width


def parameters(config):
    return (config["num_hidden_layers"] * layer_parameters(config)
            + config["vocab_size"] * config["hidden_size"])


def causal_works(group, model, depth=512, prompt=512, tokens=16):
    config = read_config(model)
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    heads, kv_heads, head = (config["num_attention_heads"], config["num_key_value_heads"],
                             config["head_dim"])
    weights = parameters(config)
    keys = layers * 2 * kv_heads * head
    attention = 4 * layers * heads * head * prompt * (prompt + 1) / 2
    return [
        Work(f"{group}-decode", group, "decode", "bf16", "tok/s", tokens, model,
             {"depth": depth, "tokens": tokens},
             bytes=tokens * 2 * (weights + keys * (depth + tokens / 2)),
             flops=tokens * 2 * weights),
        Work(f"{group}-prefill", group, "prefill", "bf16", "tok/s", prompt, model,
             {"tokens": prompt}, bytes=2 * weights,
             flops=2 * prompt * layers * layer_parameters(config) + attention
             + 2 * config["vocab_size"] * hidden),
    ]


def encoder_works(tokens=128):
    hidden, layers, width = 384, 6, 1536
    works = []
    for dtype in ("f32", "bf16"):
        for batch in (1, 32):
            count = batch * tokens
            flops = layers * (2 * count * (4 * hidden * hidden + 2 * hidden * width)
                              + 4 * count * tokens * hidden)
            works.append(Work(f"minilm-{dtype}-b{batch}", "minilm", "encode", dtype, "ms", 1000,
                              "all-MiniLM-L6-v2", {"batch": batch, "tokens": tokens}, flops=flops))
    return works


def pointwise_works(rows=4096, columns=4096):
    works = []
    for dtype, size in (("f32", 4), ("bf16", 2)):
        for name, tensors in (("rms_norm", 4), ("softmax", 2), ("gelu", 2), ("gelu_tanh", 2)):
            moved = tensors * rows * columns * size
            works.append(Work(f"{name}-{dtype}", "pointwise", "pointwise", dtype, "GB/s",
                              moved / 1e9, name, {"N": rows, "columns": columns}, bytes=moved))
    return works


def gemm_works():
    works = []
    for dtype in ("f32", "bf16", "i8"):
        for m, n, k, name in ((2048, 2048, 2048, "gemm_2048"), (512, 8192, 2048, "gemm_8192x2048")):
            flops = 2 * m * n * k
            works.append(Work(f"gemm-{m}x{n}x{k}-{dtype}", "gemm", "gemm", dtype, "TFLOP/s",
                              flops / 1e12, name, {"M": m, "N": n, "K": k}, flops=flops))
    return works


def all_works():
    return (causal_works("llama", "llama-3.2-1b")
            + causal_works("smollm2", "smollm2-135m", tokens=32)
            + encoder_works() + pointwise_works() + gemm_works())


GROUPS = ("llama", "smollm2", "minilm", "pointwise", "gemm", "start")
