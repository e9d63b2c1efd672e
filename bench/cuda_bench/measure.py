"""The times: mlsys and PyTorch in turns, medians and spread."""
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time

from . import works


class Peer:
    """A process of torch_worker.py; absent when PyTorch is not there."""

    def __init__(self, python, device, mode, timeout):
        self.mode, self.timeout, self.process, self.missing = mode, timeout, None, ""
        self.log = tempfile.TemporaryFile(mode="w+")
        worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_worker.py")
        try:
            self.process = subprocess.Popen([python, worker, device, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.log, text=True)
            self.facts = self.read(180)
        except (OSError, RuntimeError) as error:
            self.stop(str(error))

    def read(self, timeout):
        while True:
            ready, _, _ = select.select([self.process.stdout], [], [], timeout)
            line = self.process.stdout.readline() if ready else None
            if not line:
                self.log.seek(0)
                raise RuntimeError(f"no answer in {timeout} s" if line is None
                                   else f"PyTorch's process ended: {self.log.read()[-500:]}")
            if line.startswith("{"):
                return json.loads(line)

    def stop(self, reason):
        self.missing = self.missing or reason
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None

    def measure(self, work):
        """Seconds, or the reason why there are none."""
        if not self.process:
            return None, self.missing
        try:
            self.process.stdin.write(json.dumps(work) + "\n")
            self.process.stdin.flush()
            answer = self.read(self.timeout)
        except (OSError, RuntimeError) as error:
            self.stop(str(error))
            return None, str(error)
        return answer.get("seconds"), answer.get("error", "")


def summary(seconds):
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds), "samples": len(seconds)}


class Bench:
    def __init__(self, runner, sizes, peers, shapes, report):
        self.runner, self.sizes, self.peers, self.shapes, self.report = runner, sizes, peers, shapes, report
        self.rows, self.limits = [], {}

    def bench(self, name, *flags):
        return json.loads(self.runner.run("bench", self.runner.file(name), "-o", "json", "-r",
                                          str(self.sizes.repetitions), *flags))

    def add(self, work, contenders, moved=0, computed=0, **facts):
        """`contenders`: name -> seconds of all rounds."""
        row = {"work": work, "bytes": moved, "flops": computed, "seconds": {}, "missing": {}, **facts}
        for name, seconds in contenders.items():
            if isinstance(seconds, str):
                row["missing"][name] = seconds
            else:
                row["seconds"][name] = summary(seconds)
        mine = row["seconds"].get("mlsys")
        if mine:
            time_taken = mine["median"]
            if moved and self.limits.get("copy_gb_per_s"):
                row["of_bandwidth"] = moved / time_taken / 1e9 / self.limits["copy_gb_per_s"]
            if computed and self.limits.get("bf16_tflop_per_s"):
                row["of_peak"] = computed / time_taken / 1e12 / self.limits["bf16_tflop_per_s"]
            row["times_faster_than"] = {name: other["median"] / time_taken for name, other in row["seconds"].items()
                                        if name != "mlsys"}
        self.rows.append(row)
        times = ", ".join(f"{name} {value['median'] * 1e3:.3f} ms" for name, value in row["seconds"].items())
        parts = "".join(f", {row[key]:.2f} {key}" for key in ("of_bandwidth", "of_peak") if key in row)
        self.report(f"  {work}: {times}{parts}" + "".join(f", no {name}: {why[:80]}" for name, why in row["missing"].items()))

    def together(self, mine, work, rounds):
        """Everybody's samples, in turns. `mine` gives mlsys's seconds of a round."""
        samples = {"mlsys": [], **{peer.mode: [] for peer in self.peers}}
        missing = {}
        for _ in range(rounds):
            try:
                samples["mlsys"] += mine()
            except (RuntimeError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired) as error:
                missing["mlsys"] = str(error)
            for peer in self.peers:
                seconds, why = peer.measure({**work, "repetitions": self.sizes.repetitions})
                if seconds:
                    samples[peer.mode] += seconds
                elif peer.mode not in missing:
                    missing[peer.mode] = why
        return {name: samples[name] or missing.get(name, "not measured") for name in samples}

    #--- The machine ---------------------------------------------------------------------------------------------

    def measure_limits(self):
        """Bandwidth (bytes read and written) and peak: the best of who is there."""
        size = 2 << 30 if not self.sizes.tiny else 1 << 20
        copies, products = {}, {}
        rows = max(1, size // 2 // (works.COLUMNS * 2))
        row = self.bench("copy", "--symbol", f"N={rows}", "--kernels")[0]
        copies["mlsys"] = 2 * rows * works.COLUMNS * 2 / (kernel_seconds(row)[0]) / 1e9
        n, k = self.sizes.gemms[-1]
        m = self.sizes.gemm_rows[-1]
        row = self.bench(f"gemm_{n}x{k}", "--symbol", f"M={m}", "--kernels")[0]
        products["mlsys"] = 2 * m * n * k / kernel_seconds(row)[0] / 1e12
        for peer in self.peers:
            if peer.mode != "eager":
                continue
            seconds, _ = peer.measure({"kind": "copy", "bytes": size, "repetitions": self.sizes.repetitions})
            if seconds:
                copies["torch"] = size / statistics.median(seconds) / 1e9
            peak = self.sizes.peak
            seconds, _ = peer.measure({"kind": "gemm", "M": peak, "N": peak, "K": peak, "repetitions": self.sizes.repetitions})
            if seconds:
                products["torch"] = 2 * peak ** 3 / statistics.median(seconds) / 1e12
        self.limits = {"copy_gb_per_s": max(copies.values()), "bf16_tflop_per_s": max(products.values()),
                       "copies": copies, "products": products}
        self.report(f"  copy {copies}, products {products}")

    #--- Works ---------------------------------------------------------------------------------------------------

    def pointwise(self, rounds):
        rows = self.sizes.rows
        for name, (_, _, _, size) in works.POINTWISE.items():
            mine = lambda: kernel_seconds(self.bench(name, "--symbol", f"N={rows}", "--kernels")[0])
            samples = self.together(mine, {"kind": "pointwise", "name": name, "rows": rows, "columns": works.COLUMNS}, rounds)
            self.add(f"{name} {rows}x{works.COLUMNS} bf16", samples, moved=2 * rows * works.COLUMNS * size)

    def gemms(self, rounds):
        for n, k in self.sizes.gemms:
            for m in self.sizes.gemm_rows:
                mine = lambda: kernel_seconds(self.bench(f"gemm_{n}x{k}", "--symbol", f"M={m}", "--kernels")[0])
                samples = self.together(mine, {"kind": "gemm", "M": m, "N": n, "K": k}, rounds)
                self.add(f"gemm {m}x{n}x{k} bf16", samples, computed=2 * m * n * k)
        for name in works.programs(self.sizes):
            if name.startswith("gemv"):
                m, n, k = (int(part) for part in name[5:].split("x"))
                mine = lambda: kernel_seconds(self.bench(name, "--kernels")[0])
                samples = self.together(mine, {"kind": "gemm", "M": m, "N": n, "K": k}, rounds)
                self.add(f"gemm {m}x{n}x{k} bf16", samples, moved=2 * (n * k + m * k + m * n))

    def models(self, rounds):
        sizes = self.sizes
        for name in works.MODELS:
            config = self.shapes[name]
            prompts, decodes, steps = {}, {}, None
            for _ in range(rounds):
                flags = ["-c", str(sizes.context)]
                results = self.bench(f"model-{name}", "-p", ",".join(map(str, sizes.prompts)), "-n", "0", *flags)
                results += self.bench(f"model-{name}", "-p", "0", "-n", str(sizes.tokens), "-d", str(sizes.depth), "-b",
                                      ",".join(map(str, sizes.batches)), *flags)
                for row in results:
                    tokens = row["n_prompt"] or row["n_gen"] * row["n_batch"]
                    seconds = [tokens / rate for rate in row["samples_ts"]]
                    if row["n_prompt"]:
                        prompts.setdefault(row["n_prompt"], []).extend(seconds)
                    else:
                        decodes.setdefault(row["n_batch"], []).extend(value / row["n_gen"] for value in seconds)
            # Every kernel of a step, by events, and what the compiler counts for it.
            profile = self.bench(f"model-{name}", "-p", str(sizes.prompts[-1]), "-n", "2", "-d", str(sizes.depth), "--kernels",
                                 "-c", str(sizes.context))
            self.add_kernels(name, profile)
            weights = parameter_bytes(config)
            for tokens, mine in prompts.items():
                work = {"kind": "prefill", "model": name, "config": config, "tokens": tokens}
                samples = {"mlsys": mine, **self.peers_only(work, rounds)}
                flops = 2 * tokens * (weights["layers"] // 2) + 2 * (weights["head"] // 2) + attention_flops(config, tokens)
                self.add(f"{name} prefill {tokens}", samples, computed=flops)
            for batch, mine in decodes.items():
                work = {"kind": "decode", "model": name, "config": config, "batch": batch, "depth": sizes.depth,
                        "tokens": sizes.tokens}
                samples = {"mlsys": mine, **self.peers_only(work, rounds)}
                moved = weights["layers"] + weights["head"] + batch * cache_bytes(config, sizes.depth + sizes.tokens // 2)
                self.add(f"{name} decode batch {batch} after {sizes.depth}", samples, moved=moved)

    def peers_only(self, work, rounds):
        samples = self.together(lambda: [], work, rounds)
        del samples["mlsys"]
        return samples

    def add_kernels(self, name, profile):
        for row in profile:
            for kernel in row["kernels"]:
                seconds = [value * 1e-9 for value in kernel["samples_ns"]]
                self.add(f"{name} {row['test']}: {kernel['kernel']} ({kernel['kind']}) {kernel['label']}", {"mlsys": seconds},
                         moved=kernel["bytes"], computed=kernel["flops"], group="kernel", launches=kernel["launches"])

    def attention(self, rounds):
        """mlsys's is inside its longest prompt; PyTorch's alone, of the same shape."""
        batch, tokens, heads, kv_heads, size = self.sizes.attention
        flops = 2 * batch * heads * tokens * tokens * size
        name = list(works.MODELS)[-1]

        def mine():
            row = self.bench(f"model-{name}", "-p", str(tokens), "-n", "0", "--chunk", str(tokens), "--kernels", "-c",
                             str(self.sizes.context))[0]
            kernels = [kernel for kernel in row["kernels"] if kernel["kind"] == "attention"]
            launches = sum(kernel["launches"] for kernel in kernels)
            return [sum(kernel["median_ns"] for kernel in kernels) * 1e-9 / launches]

        samples = self.together(mine, {"kind": "attention", "shape": self.sizes.attention}, rounds)
        self.add(f"attention of {tokens} tokens, {heads} heads ({kv_heads}) of {size}, causal", samples, computed=flops)

    def start(self, rounds):
        """From a process's start to its first token, with kernels in the file, and with text alone: cold and warm."""
        for name in [f"check-{model}-bf16" for model in works.CHECKED][:2] + [f"model-{model}" for model in works.MODELS]:
            seconds, loading = [], []
            for _ in range(rounds + 1):
                begin = time.perf_counter()
                text = self.runner.run("generate", self.runner.file(name), "--prompt-ids", "1,2,3", "-n", "1", "--ids",
                                       "--ignore-eos", "--json", "-c", "64")
                seconds.append(time.perf_counter() - begin)
                loading.append(json.loads(text[text.index("{"):text.rindex("}") + 1])["timings"]["load_seconds"])
            # The first run may have compiled kernels.
            self.add(f"start of {name}, first run", {"mlsys": seconds[:1]}, group="start", load_seconds=loading[:1])
            self.add(f"start of {name}, warm", {"mlsys": seconds[1:]}, group="start", load_seconds=loading[1:])


def kernel_seconds(row):
    """Seconds of a call of a function of tensors: all its kernels, in each repetition."""
    return [sum(parts) * 1e-9 for parts in zip(*(kernel["samples_ns"] for kernel in row["kernels"]))]


def parameter_bytes(config):
    hidden, size = config["hidden_size"], config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    attention = hidden * size * (2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"])
    mlp = 3 * hidden * config["intermediate_size"]
    return {"layers": 2 * config["num_hidden_layers"] * (attention + mlp), "head": 2 * config["vocab_size"] * hidden}


def cache_bytes(config, tokens):
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * size * tokens


def attention_flops(config, tokens):
    """Of the half that is not masked."""
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return 2 * config["num_hidden_layers"] * config["num_attention_heads"] * size * tokens * tokens
