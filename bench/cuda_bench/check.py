"""Results of the GPU beside those of the CPU, from the same compiled files, and beside those of the same GPU another way."""
import array
import ast
import concurrent.futures
import json
import math
import os
import random
import struct
import subprocess
import tempfile
import threading

from . import works

# Checks at a time; each has its part of the cores.
AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 4))
THREADS = ["-t", (os.cpu_count() or 1) // AT_ONCE]
FAILURES = (RuntimeError, OSError, ValueError, KeyError, subprocess.TimeoutExpired)


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
    folder, flags, results = tempfile.mkdtemp(dir=scratch), [], []
    for key, (shape, values, code) in inputs.items():
        path = os.path.join(folder, f"{key}.npy")
        write_npy(path, shape, values, code)
        flags += ["--input", f"{key}={path}"]
    for device in ("cpu", runner.device):
        output = tempfile.mkdtemp(dir=folder)
        runner.run("run", runner.file(name), "--function", function, *flags, "--output-dir", output, *THREADS, device=device)
        results.append([read_npy(os.path.join(output, file)) for file in sorted(os.listdir(output))])
    return max(difference(a, b) for a, b in zip(results[1], results[0]))


def generate(runner, name, ids, tokens, *flags, device=None, environment=None):
    text = runner.run("generate", runner.file(name), "--prompt-ids", ",".join(map(str, ids)), "-n", tokens, "--ignore-eos",
                      "--ids", "--json", *flags, *THREADS, device=device, environment=environment)
    return json.loads(text[text.index("{"):])


def check_steps(runner, name, ids, tokens, vocabulary):
    """Prefill and decode over the cache: the log-probabilities of the likeliest tokens. Where the CPU's choice is
    nearly another's the devices may go different ways, and what follows is not compared."""
    flags = ["--temp", "0", "--logprobs", "20"]
    expected = generate(runner, name, ids, tokens, *flags, device="cpu")["logprobs"]
    actual = generate(runner, name, ids, tokens, *flags)["logprobs"]
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


def check_ways(runner, name, ids, tokens, flags):
    """Tokens chosen on the GPU by graphs, by plain launches, and on the host, from the same logits: 0 when they agree, 1 when
    not."""
    ways = [generate(runner, name, ids, tokens, *flags, environment=environment)["ids"]
            for environment in ({}, {"MLSYS_CUDA_GRAPHS": "0"}, {"MLSYS_DEVICE_SAMPLING": "0"})]
    return 0.0 if ways[0] == ways[1] == ways[2] and len(ways[0]) == tokens else 1.0


def numbers(*shape):
    return shape, [random.uniform(-1, 1) for _ in range(math.prod(shape))], "f"


def all_checks(runner, sizes, scratch):
    """(what, the program whose works it vouches for, the allowed difference, how) of every check."""
    result = []
    rows = 3 if sizes.tiny else 37
    for name in works.programs(sizes):
        if name in works.POINTWISE:
            inputs = {"x": numbers(rows, works.COLUMNS)}
            if name == "rms_norm":
                inputs["scale"] = numbers(works.COLUMNS)
        elif name in works.ROWS:
            inputs = {"x": numbers(2 if name == "long_softmax" else rows, works.ROWS[name][0])}
        else:
            parts = [int(part) for part in name.split("_")[1].split("x")]
            inputs = {"a": numbers(parts[0] if name.startswith("gemv") else 5 if sizes.tiny else 200, parts[-1])}
        # One rounding to bf16, of a result that may differ in its last bit.
        result.append((name, name, 1e-2, lambda name=name, inputs=inputs: check_tensors(runner, name, name, inputs, scratch)))
    vocabulary = 512 if sizes.tiny else 2048
    for model in works.CHECKED:
        for dtype in works.DTYPES:
            name, allowed = f"check-{model}-{dtype}", works.TOLERANCE[dtype]
            program = f"model-{model}" if dtype == "bf16" else ""
            for count in sizes.checked_prompts:
                ids = [random.randrange(vocabulary) for _ in range(count)]
                result.append((f"{name}: all logits of {count} tokens", program, allowed, lambda name=name, ids=ids: check_tensors(
                    runner, name, "forward", {"input_ids": ((1, len(ids)), ids, "q")}, scratch)))
                result.append((f"{name}: prompt of {count}, then 4 steps", program, allowed, lambda name=name, ids=ids: check_steps(
                    runner, name, ids, 5, vocabulary)))
        name = f"check-{model}-bf16"
        ids = [random.randrange(vocabulary) for _ in range(9)]
        for how, flags in (("the largest logit", ["--temp", "0"]), ("drawn", ["--temp", "1", "--seed", "3"]),
                           ("top-k and top-p", ["--temp", "0.8", "--top-k", "40", "--top-p", "0.9", "--seed", "3"])):
            result.append((f"{name}: tokens by {how}, on the GPU and on the host", f"model-{model}", 0.0,
                           lambda name=name, ids=ids, flags=flags: check_ways(runner, name, ids, 12, flags)))
    return result


def check_all(runner, sizes, results, clock, report):
    """Every check, several at a time where there are cores; `results` gets them as they end. A check that fails to run is
    infinitely far off. Returns the programs that are wrong."""
    random.seed(1)
    lock = threading.Lock()
    wrong = set()

    def one(what, program, allowed, how):
        if clock.over(30):
            with lock:
                results.data["not_done"].append(f"check of {what}")
            return
        why = ""
        try:
            found = how()
        except FAILURES as error:
            found, why = float("inf"), str(error)
        good = found <= allowed
        entry = {"what": what, "difference": found if math.isfinite(found) else "failed", "allowed": allowed, "good": good}
        if why:
            entry["why"] = why[-1500:]
        with lock:
            results.data["checks"].append(entry)
            results.store()
            if not good:
                wrong.add(program)
            report(f"  {'good' if good else 'WRONG'}  {what}: {found:.2e} (allowed {allowed:.0e}){'  ' + why if why else ''}")

    with tempfile.TemporaryDirectory() as scratch:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for future in [pool.submit(one, *check) for check in all_checks(runner, sizes, scratch)]:
                future.result()
    return wrong
