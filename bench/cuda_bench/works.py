"""What bench/gpu checks and times. Everything that is compiled is named here, so that `--prepare` and `--run` agree."""

# Columns of the matrices of pointwise works and rows.
COLUMNS = 4096
# name: inputs, results, the body after `func.func`, bytes of an element that are moved
POINTWISE = {
    "copy": ("%x: !x {graph.name = \"x\"}", ["y"], "  %y = graph.abs %x : !x\n", 2),
    "gelu": ("%x: !x {graph.name = \"x\"}", ["y"], "  %y = graph.gelu %x : !x\n", 2),
    "softmax": ("%x: !x {graph.name = \"x\"}", ["y"], "  %y = graph.softmax %x dim 1 : !x\n", 2),
    "rms_norm": ("%x: !x {graph.name = \"x\"}, %scale: !s {graph.name = \"scale\"}", ["y"],
                 "  %y = graph.rms_norm %x, %scale epsilon 1.0e-5 : !x, !s\n", 2),
}
# (N, K) of the weights of Llama-3.2-1B and 3.1-8B, and a large square.
GEMMS = [(2048, 2048), (8192, 2048), (4096, 4096), (14336, 4096), (4096, 14336), (8192, 8192)]
TINY_GEMMS = [(256, 192)]
# Rows that decode works with; a program of its own for each, since they are known when it is compiled.
FEW_ROWS = [1, 2, 4, 8, 16]
BUCKETS = [1, 4, 16, 64]

MODELS = {"llama-3.2-1b": {}, "llama-3.1-8b": {}}
# Of the shapes of a model, but few layers and a small vocabulary: for checks beside the CPU.
CHECKED = {
    "llama-3.2-1b": {"num_hidden_layers": 2, "vocab_size": 2048},
    "llama-3.1-8b": {"num_hidden_layers": 1, "vocab_size": 2048},
    "qwen3-8b": {"num_hidden_layers": 1, "vocab_size": 2048},
    "mixtral-8x7b": {"num_hidden_layers": 1, "vocab_size": 2048, "hidden_size": 512, "intermediate_size": 1024,
                     "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64},
}
TINY = {"num_hidden_layers": 2, "vocab_size": 512, "hidden_size": 128, "intermediate_size": 256,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "num_experts": 4,
        "num_local_experts": 4, "moe_intermediate_size": 64}
TOLERANCE = {"f32": 1e-4, "bf16": 4e-2}


class Sizes:
    """How much is timed."""

    def __init__(self, tiny):
        self.tiny = tiny
        self.rows = 16 if tiny else 16384
        self.gemms = TINY_GEMMS if tiny else GEMMS
        self.gemm_rows = [16] if tiny else [2048, 8192]
        self.prompts = [16] if tiny else [512, 2048, 8192]
        self.depth = 16 if tiny else 512
        self.tokens = 2 if tiny else 64
        self.batches = [1, 4] if tiny else BUCKETS
        self.repetitions = 1 if tiny else 5
        self.checked_prompts = [5] if tiny else [5, 64, 300]
        self.attention = (2, 16, 4, 2, 32) if tiny else (1, 8192, 32, 8, 128)
        self.peak = 64 if tiny else 8192
        self.context = 256 if tiny else max(max(self.prompts) + 64, (self.depth + self.tokens + 64) * max(self.batches))


def pointwise_text(name):
    arguments, results, body, _ = POINTWISE[name]
    return (f"!x = tensor<?x{COLUMNS}xbf16, #graph.dims<[N, {COLUMNS}]>>\n!s = tensor<{COLUMNS}xbf16>\n\n"
            f"func.func @{name}({arguments}) -> (!x {{graph.name = \"{results[0]}\"}})\n"
            "    attributes {graph.phase = \"plain\", graph.symbols = [#graph.symbol<\"N\", min = 1, max = -1, hint = 4096>]} {\n"
            f"{body}  return %{results[0]} : !x\n}}\n")


def gemm_text(name, columns, contracted, rows=None):
    """A product with a weight; the rows are open, or known."""
    extent = "?" if rows is None else str(rows)
    dims = (lambda n: f", #graph.dims<[M, {n}]>") if rows is None else (lambda n: "")
    symbols = "" if rows is not None else ", graph.symbols = [#graph.symbol<\"M\", min = 1, max = -1, hint = 2048>]"
    return (f"!a = tensor<{extent}x{contracted}xbf16{dims(contracted)}>\n!c = tensor<{extent}x{columns}xbf16{dims(columns)}>\n"
            f"!w = tensor<{columns}x{contracted}xbf16>\n\n"
            f"func.func @{name}(%a: !a {{graph.name = \"a\"}}) -> (!c {{graph.name = \"c\"}})\n"
            f"    attributes {{graph.phase = \"plain\"{symbols}}} {{\n"
            "  %w = graph.weight \"w\" : !w from #graph.weight_source<file = -1, offset = 0, bytes = 0, "
            f"dtype = \"random\", shape = [{columns}, {contracted}]>\n"
            "  %c = graph.linear %a, %w : (!a, !w) -> !c\n  return %c : !c\n}\n")


def programs(sizes):
    """File name -> (function, text) of everything that takes and gives tensors."""
    result = {name: (name, pointwise_text(name)) for name in POINTWISE}
    for n, k in sizes.gemms:
        name = f"gemm_{n}x{k}"
        result[name] = (name, gemm_text(name, n, k))
    n, k = sizes.gemms[-2 if len(sizes.gemms) > 1 else 0]
    for rows in FEW_ROWS:
        name = f"gemv_{rows}x{n}x{k}"
        result[name] = (name, gemm_text(name, n, k, rows))
    return result
