"""Results of the GPU beside those of the CPU, from the same compiled files."""
import array
import ast
import json
import math
import os
import random
import struct
import subprocess
import tempfile

from . import works


class Runner:
    """mlsys-run of the prepared folder."""

    def __init__(self, folder, device):
        self.folder, self.device = os.path.abspath(folder), device
        self.environment = dict(os.environ)
        self.environment["LD_LIBRARY_PATH"] = os.path.join(self.folder, "lib")

    def command(self, *arguments, device=None):
        return [os.path.join(self.folder, "mlsys-run"), *arguments, "--device", device or self.device]

    def run(self, *arguments, device=None, environment=None, timeout=900):
        done = subprocess.run(self.command(*arguments, device=device), capture_output=True, text=True, timeout=timeout,
                              env={**self.environment, **(environment or {})})
        if done.returncode:
            raise RuntimeError(f"mlsys-run {' '.join(arguments)} --device {device or self.device}: "
                               f"{done.stderr.strip()[-2000:]}")
        return done.stdout

    def file(self, name):
        return os.path.join(self.folder, name + ".mlsys")


def write_npy(path, shape, values, code):
    """`code`: f (f32) or q (i64)."""
    kind = {"f": "<f4", "q": "<i8"}[code]
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        file.write(array.array(code, values).tobytes())


def read_npy(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + size].decode())
    if header["descr"] != "<f4":
        raise RuntimeError(f"{path} holds {header['descr']}")
    values = array.array("f")
    values.frombytes(data[10 + size:])
    return values


def difference(actual, expected):
    """The largest difference over the largest value; a NaN is infinitely far off."""
    if len(actual) != len(expected):
        return float("inf")
    largest = max(abs(value) for value in expected)
    worst = 0.0
    for a, b in zip(actual, expected):
        if not abs(a - b) <= worst:
            worst = abs(a - b) if a == a and b == b else float("inf")
    return worst / largest if largest else float("inf")


def check_tensors(runner, name, function, inputs, scratch):
    """One function with the same inputs on both devices."""
    flags, results = [], []
    for key, (shape, values, code) in inputs.items():
        path = os.path.join(scratch, f"{key}.npy")
        write_npy(path, shape, values, code)
        flags += ["--input", f"{key}={path}"]
    for device in ("cpu", runner.device):
        output = tempfile.mkdtemp(dir=scratch)
        runner.run("run", runner.file(name), "--function", function, *flags, "--output-dir", output, device=device)
        results.append([read_npy(os.path.join(output, file)) for file in sorted(os.listdir(output))])
    return max(difference(a, b) for a, b in zip(results[1], results[0]))


def generate(runner, name, ids, tokens, device):
    text = runner.run("generate", runner.file(name), "--prompt-ids", ",".join(map(str, ids)), "-n", str(tokens),
                      "--temp", "0", "--ignore-eos", "--ids", "--json", "--logprobs", "20", device=device)
    return json.loads(text[text.index("{"):])


def check_steps(runner, name, ids, tokens, vocabulary):
    """Prefill and decode over the cache: the log-probabilities of the likeliest tokens. Where the CPU's choice is
    nearly another's the devices may go different ways, and what follows is not compared."""
    expected = generate(runner, name, ids, tokens, "cpu")["logprobs"]
    actual = generate(runner, name, ids, tokens, runner.device)["logprobs"]
    worst = 0.0
    for mine, theirs in zip(actual, expected):
        known = {entry["id"]: entry["logprob"] for entry in theirs["best"]}
        found = {entry["id"]: entry["logprob"] for entry in mine["best"]}
        both = known.keys() & found.keys()
        if len(both) < len(known) // 2:
            return float("inf")
        # How far from a uniform choice the likeliest are says how large logits are.
        scale = max(abs(value + math.log(vocabulary)) for value in known.values())
        worst = max(worst, max(abs(known[token] - found[token]) for token in both) / scale)
        if mine["id"] != theirs["id"]:
            break
    return worst


def check_all(runner, sizes, scratch, report):
    """Every check; returns the list of (what, difference, allowed). A check that fails to run is infinitely far off."""
    random.seed(1)
    results = []

    def record(what, allowed, work):
        try:
            found = work()
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as error:
            report(f"  {what}: {error}")
            found = float("inf")
        results.append({"what": what, "difference": found if found != float("inf") else "failed", "allowed": allowed,
                        "good": found <= allowed})
        report(f"  {'good' if found <= allowed else 'WRONG'}  {what}: {found:.2e} (allowed {allowed:.0e})")

    def numbers(*shape):
        count = 1
        for extent in shape:
            count *= extent
        return shape, [random.uniform(-1, 1) for _ in range(count)], "f"

    rows = 3 if sizes.tiny else 37
    for name in works.POINTWISE:
        inputs = {"x": numbers(rows, works.COLUMNS)}
        if name == "rms_norm":
            inputs["scale"] = numbers(works.COLUMNS)
        # One rounding to bf16, of a result that may differ in its last bit.
        record(name, 1e-2, lambda: check_tensors(runner, name, name, inputs, scratch))
    for name, (function, _) in works.programs(sizes).items():
        if not name.startswith("gem"):
            continue
        known = name.startswith("gemv")
        count = int(name.split("_")[1].split("x")[0]) if known else (5 if sizes.tiny else 200)
        contracted = int(name.rsplit("x", 1)[1])
        record(name, 1e-2, lambda: check_tensors(runner, name, function, {"a": numbers(count, contracted)}, scratch))
    for model in works.CHECKED:
        for dtype in ("f32", "bf16"):
            name, allowed = f"check-{model}-{dtype}", works.TOLERANCE[dtype]
            vocabulary = 512 if sizes.tiny else 2048
            for count in sizes.checked_prompts:
                ids = [random.randrange(vocabulary) for _ in range(count)]
                record(f"{name}: all logits of {count} tokens", allowed, lambda: check_tensors(
                    runner, name, "forward", {"input_ids": ((1, count), ids, "q")}, scratch))
                record(f"{name}: prompt of {count}, then 4 steps", allowed, lambda: check_steps(
                    runner, name, ids, 5, vocabulary))
    return results
