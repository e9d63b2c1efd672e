"""The times of mlsys."""
import json
import os
import subprocess
import tempfile
import time

from . import works
from .results import line

FAILURES = (RuntimeError, OSError, ValueError, KeyError, IndexError, subprocess.TimeoutExpired)


def call_seconds(row):
    """Seconds of a call of a function of tensors: all its kernels, in each repetition."""
    return [sum(parts) * 1e-9 for parts in zip(*(kernel["samples_ns"] for kernel in row["kernels"]))]


class Bench:
    """Times works with mlsys-run; `wrong` are the programs whose results are wrong, which are not timed."""

    def __init__(self, runner, sizes, shapes, results, clock, rounds, wrong, report):
        self.runner, self.sizes, self.shapes, self.results = runner, sizes, shapes, results
        self.clock, self.rounds, self.wrong, self.report = clock, rounds, wrong, report
        self.works = works.timed(sizes, shapes)

    def bench(self, program, *flags, repetitions=None):
        timeout = max(10, min(240, self.clock.left()))
        return json.loads(self.runner.run("bench", self.runner.file(program), "-o", "json", "-r",
                                          repetitions or self.sizes.repetitions, *flags, timeout=timeout))

    def seconds(self, work):
        """The samples of one round: of a call, a prompt, or a decode step."""
        row = self.bench(work.program, *work.flags)[0]
        if work.group in ("gemms", "pointwise"):
            return call_seconds(row)
        if work.group == "attention":
            # Times are of one step, the work is a layer's in all steps of the prompt.
            layers = self.shapes[work.program.removeprefix("model-")]["num_hidden_layers"]
            steps = -(-row["n_prompt"] // works.CHUNK)
            kernels = [kernel["samples_ns"] for kernel in row["kernels"] if kernel["kind"] == "attention"]
            return [sum(samples) * 1e-9 * steps / layers for samples in zip(*kernels)]
        tokens = row["n_prompt"] or row["n_gen"] * row["n_batch"]
        return [tokens / rate / max(row["n_gen"], 1) for rate in row["samples_ts"]]

    def measure_limits(self):
        """Bandwidth (bytes read and written) and peak, as far as mlsys's own kernels show them."""
        rows = max(1, self.sizes.copy // 2 // (works.COLUMNS * 2))
        n, k = self.sizes.gemms[-1]
        m = self.sizes.gemm_rows[-1]
        try:
            seconds = min(call_seconds(self.bench("copy", "--symbol", f"N={rows}", "--kernels")[0]))
            self.results.limit("copies", "mlsys", 2 * rows * works.COLUMNS * 2 / seconds / 1e9)
            seconds = min(call_seconds(self.bench(f"gemm_{n}x{k}", "--symbol", f"M={m}", "--kernels")[0]))
            self.results.limit("products", "mlsys", 2 * m * n * k / seconds / 1e12)
        except FAILURES as error:
            self.results.data["failed"]["limits"] = str(error)[-1500:]
        self.report(f"  limits by mlsys: {self.results.data['limits']}")

    def group(self, group):
        for work in self.works:
            if work.group == group:
                self.time(work)
        if group in ("decode", "prefill"):
            for model in self.shapes:
                self.kernels(model, group)

    def time(self, work):
        row = self.results.row(work.name, work.group, work.moved, work.computed)
        if work.program in self.wrong:
            self.results.add(row, "mlsys", "its results are wrong")
        else:
            samples, why = [], ""
            for _ in range(self.rounds):
                if self.clock.over():
                    break
                try:
                    samples += self.seconds(work)
                except FAILURES as error:
                    why = str(error)[-1500:]
                    break
            if not samples and not why:
                self.results.data["not_done"].append(work.name)
                self.results.store()
                return
            self.results.add(row, "mlsys", samples or why)
        self.report("  " + line(row))

    def kernels(self, model, group):
        """Every kernel of a step by events, and what the compiler counts for it."""
        sizes, program = self.sizes, f"model-{model}"
        tokens, batch = sizes.prompts[-1], sizes.batches[0]
        flags = (["-p", tokens, "-n", "0", "-c", tokens + 64] if group == "prefill" else
                 ["-p", "0", "-n", "4", "-d", sizes.depth, "-b", batch, "-c", (sizes.depth + 64) * batch])
        if program in self.wrong or self.clock.over():
            return
        try:
            rows = self.bench(program, *flags, "--kernels", repetitions=2)
        except FAILURES as error:
            self.results.data["failed"][f"kernels of {model}, {group}"] = str(error)[-1500:]
            return
        for row in rows:
            for kernel in row["kernels"]:
                entry = self.results.row(f"{model} {row['test']}: {kernel['kernel']} ({kernel['kind']}) {kernel['label']}",
                                         "kernel", kernel["bytes"], kernel["flops"], launches=kernel["launches"])
                self.results.add(entry, "mlsys", [value * 1e-9 for value in kernel["samples_ns"]])
                self.report("    " + line(entry))

    def start(self):
        """From a process's start to its first token: with machine code in the file, and with text alone, which NVRTC compiles
        the first time."""
        names = [f"check-{next(iter(works.CHECKED))}-bf16", *(f"model-{model}" for model in self.shapes), works.TEXT]
        for name in names:
            if self.clock.over(20):
                self.results.data["not_done"].append(f"start of {name}")
                continue
            seconds, loading = [], []
            first = self.results.row(f"start of {name}, first run", "start")
            warm = self.results.row(f"start of {name}, warm", "start")
            with tempfile.TemporaryDirectory() as cache:
                environment = {"MLSYS_CACHE_DIR": cache} if name == works.TEXT else {}
                try:
                    for _ in range(1 + max(2, self.rounds)):
                        begin = time.perf_counter()
                        text = self.runner.run("generate", self.runner.file(name), "--prompt-ids", "1,2,3", "-n", "1", "--ids",
                                               "--ignore-eos", "--json", "-c", "64", environment=environment,
                                               timeout=max(10, self.clock.left()))
                        seconds.append(time.perf_counter() - begin)
                        loading.append(json.loads(text[text.index("{"):text.rindex("}") + 1])["timings"]["load_seconds"])
                except FAILURES as error:
                    self.results.add(first if not seconds else warm, "mlsys", str(error)[-1500:])
            if seconds:
                first["load_seconds"] = loading[:1]
                self.results.add(first, "mlsys", seconds[:1])
            if len(seconds) > 1:
                warm["load_seconds"] = loading[1:]
                self.results.add(warm, "mlsys", seconds[1:])
            for row in (first, warm):
                self.report("  " + line(row))
