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
# More kernels over rows: columns, type of the result, body, bytes moved for an element of the input
LONG = 131072
ROWS = {
    "transpose": (COLUMNS, f"tensor<{COLUMNS}x?xbf16, #graph.dims<[{COLUMNS}, N]>>",
                  "  %y = graph.transpose %x permutation [1, 0] : !x -> !y\n", 4),
    "column_sum": (COLUMNS, f"tensor<{COLUMNS}xbf16>", "  %y = graph.reduce sum %x dims [0] : !x -> !y\n", 2),
    "long_softmax": (LONG, f"tensor<?x{LONG}xbf16, #graph.dims<[N, {LONG}]>>", "  %y = graph.softmax %x dim 1 : !x\n", 4),
}
# (N, K) of the weights of Llama-3.2-1B and 3.1-8B, and a large square.
GEMMS = [(2048, 2048), (8192, 2048), (4096, 4096), (14336, 4096), (4096, 14336), (8192, 8192)]
TINY_GEMMS = [(256, 192)]
# Rows that decode works with; a program of its own for each, since they are known when it is compiled.
FEW_ROWS = [1, 2, 4, 8, 16]
BUCKETS = [1, 4, 16, 64]
# Tokens of a prompt in one step of a model.
CHUNK = 2048

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
DTYPES = ("bf16", "f32")
TOLERANCE = {"f32": 1e-4, "bf16": 4e-2}
# A file without machine code, which NVRTC compiles where it runs.
TEXT = "text-llama-3.2-1b"


class Sizes:
    """How much is timed."""

    def __init__(self, tiny):
        self.tiny = tiny
        self.rows = 16 if tiny else 16384
        self.gemms = TINY_GEMMS if tiny else GEMMS
        self.gemm_rows = [32] if tiny else [2048, 8192]
        self.prompts = [16] if tiny else [512, 2048, 8192]
        self.depth = 16 if tiny else 512
        self.tokens = 2 if tiny else 64
        self.batches = [1, 4] if tiny else BUCKETS
        self.repetitions = 1 if tiny else 5
        self.checked_prompts = [5] if tiny else [5, 64, 300]
        self.attention = (1, 16, 4, 2, 32) if tiny else (1, 8192, 32, 8, 128)
        self.peak = 64 if tiny else 8192
        self.copy = 1 << 20 if tiny else 2 << 30


def pointwise_text(name):
    arguments, results, body, _ = POINTWISE[name]
    return (f"!x = tensor<?x{COLUMNS}xbf16, #graph.dims<[N, {COLUMNS}]>>\n!s = tensor<{COLUMNS}xbf16>\n\n"
            f"func.func @{name}({arguments}) -> (!x {{graph.name = \"{results[0]}\"}})\n"
            "    attributes {graph.phase = \"plain\", graph.symbols = [#graph.symbol<\"N\", min = 1, max = -1, hint = 4096>]} {\n"
            f"{body}  return %{results[0]} : !x\n}}\n")


def rows_text(name):
    columns, result, body, _ = ROWS[name]
    return (f"!x = tensor<?x{columns}xbf16, #graph.dims<[N, {columns}]>>\n!y = {result}\n\n"
            f"func.func @{name}(%x: !x {{graph.name = \"x\"}}) -> (!y {{graph.name = \"y\"}})\n"
            "    attributes {graph.phase = \"plain\", graph.symbols = [#graph.symbol<\"N\", min = 1, max = -1, hint = 4096>]} {\n"
            f"{body}  return %y : !y\n}}\n")


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


def few_rows_shape(sizes):
    return sizes.gemms[-2 if len(sizes.gemms) > 1 else 0]


def programs(sizes):
    """File name -> text of everything that takes and gives tensors; the function is named as the file."""
    result = {name: pointwise_text(name) for name in POINTWISE}
    result.update((name, rows_text(name)) for name in ROWS)
    for n, k in sizes.gemms:
        result[f"gemm_{n}x{k}"] = gemm_text(f"gemm_{n}x{k}", n, k)
    n, k = few_rows_shape(sizes)
    for rows in FEW_ROWS:
        result[f"gemv_{rows}x{n}x{k}"] = gemm_text(f"gemv_{rows}x{n}x{k}", n, k, rows)
    return result


class Work:
    """One thing to time. `flags` are mlsys bench's, `peer` is what torch_worker.py understands (or nothing)."""

    def __init__(self, group, name, program, flags, peer=None, moved=0, computed=0):
        self.group, self.name, self.program, self.flags, self.peer = group, name, program, flags, peer
        self.moved, self.computed = moved, computed


def head_size(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def parameter_counts(config):
    """Of the layers, and of the matrix that makes logits."""
    hidden, size = config["hidden_size"], head_size(config)
    attention = hidden * size * (2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"])
    return (config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"]),
            config["vocab_size"] * hidden)


def decode_bytes(config, batch, tokens):
    """Weights once, the keys and values of `tokens` tokens of each request."""
    cache = 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_size(config) * tokens
    return 2 * sum(parameter_counts(config)) + batch * cache


def prefill_flops(config, tokens):
    """Logits of the last token alone; the half of attention that is not masked."""
    layers, head = parameter_counts(config)
    attention = 2 * config["num_hidden_layers"] * config["num_attention_heads"] * head_size(config) * tokens * tokens
    return 2 * (tokens * layers + head) + attention


def timed(sizes, shapes):
    """Every work with figures of its own, in the order in which they are timed. `shapes`: the models' config.json."""
    result = []
    for model, config in shapes.items():
        for batch in sizes.batches:
            context = (sizes.depth + sizes.tokens + 64) * batch
            flags = ["-p", "0", "-n", sizes.tokens, "-d", sizes.depth, "-b", batch, "-c", context]
            peer = {"kind": "decode", "model": model, "config": config, "batch": batch, "depth": sizes.depth,
                    "tokens": sizes.tokens}
            result.append(Work("decode", f"{model} decode batch {batch} after {sizes.depth}", f"model-{model}", flags, peer,
                               moved=decode_bytes(config, batch, sizes.depth + sizes.tokens // 2)))
    for model, config in shapes.items():
        for tokens in sizes.prompts:
            result.append(Work("prefill", f"{model} prefill {tokens}", f"model-{model}",
                               ["-p", tokens, "-n", "0", "-c", tokens + 64],
                               {"kind": "prefill", "model": model, "config": config, "tokens": tokens},
                               computed=prefill_flops(config, tokens)))
    n, k = few_rows_shape(sizes)
    for m in FEW_ROWS:
        result.append(Work("gemms", f"gemm {m}x{n}x{k} bf16", f"gemv_{m}x{n}x{k}", ["--kernels"],
                           {"kind": "gemm", "M": m, "N": n, "K": k}, moved=2 * (n * k + m * k + m * n)))
    for n, k in sizes.gemms:
        for m in sizes.gemm_rows:
            result.append(Work("gemms", f"gemm {m}x{n}x{k} bf16", f"gemm_{n}x{k}", ["--kernels", "--symbol", f"M={m}"],
                               {"kind": "gemm", "M": m, "N": n, "K": k}, computed=2 * m * n * k))
    batch, tokens, heads, kv_heads, size = sizes.attention
    # mlsys's is inside a prompt, of all its steps; PyTorch's is alone, of the same shape.
    result.append(Work("attention", f"attention of {tokens} tokens, {heads} heads ({kv_heads}) of {size}, causal",
                       f"model-{list(shapes)[-1]}",
                       ["-p", tokens, "-n", "0", "--kernels", "-c", tokens + 64],
                       {"kind": "attention", "shape": sizes.attention}, computed=2 * batch * heads * tokens * tokens * size))
    for name, (_, _, _, size) in POINTWISE.items():
        result.append(Work("pointwise", f"{name} {sizes.rows}x{COLUMNS} bf16", name,
                           ["--kernels", "--symbol", f"N={sizes.rows}"],
                           {"kind": "pointwise", "name": name, "rows": sizes.rows, "columns": COLUMNS},
                           moved=2 * sizes.rows * COLUMNS * size))
    for name, (columns, _, _, size) in ROWS.items():
        rows = max(2, sizes.rows * COLUMNS // columns)
        result.append(Work("pointwise", f"{name} {rows}x{columns} bf16", name, ["--kernels", "--symbol", f"N={rows}"],
                           {"kind": "pointwise", "name": name, "rows": rows, "columns": columns},
                           moved=rows * columns * size))
    return result
