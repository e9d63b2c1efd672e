"""How long a model takes to the first token, and the memory it needs."""
import os
import statistics
import subprocess
import time

from .contenders import Missing
from .places import model_path, tool
from .works import parameters, read_config

MODEL = "llama-3.2-1b"
CONTEXT = 2048
# Tokens of the run whose memory is measured: all of its cache is used.
PROMPT, GENERATED = 512, 8


def run_measured(command, **environment):
    """Seconds until the first byte of output and until the end, and peak resident bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env={**os.environ, **environment})
    first = process.stdout.read(1) and time.perf_counter() - start
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Missing(f"{command[1]} ends with {process.returncode}")
    return first, time.perf_counter() - start, usage.ru_maxrss * 1024


def touch(path):
    """Brings a file into the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def measure_start(threads, repetitions, peers):
    """Rows of {what, value, samples}."""
    folder, program = model_path(MODEL), model_path("start.mlsys")
    touch(os.path.join(folder, "model.safetensors"))
    compiles, firsts = [], []
    generate = [tool("mlsys-run"), "generate", program, "--device", "cpu", "-t", str(threads), "-c",
                str(CONTEXT), "--prompt-ids", "1,2,3,4,5,6,7,8", "--ids", "--ignore-eos"]
    for _ in range(repetitions):
        compiles.append(run_measured([tool("mlsys"), "compile", folder, "--dtype", "bf16",
                                      "--target", "cpu", "-o", program],
                                     MLSYS_PROGRAM_CACHE="0")[1])
        firsts.append(run_measured(generate + ["-n", "2"])[0])
    long = [tool("mlsys-run"), "bench", program, "--device", "cpu", "-t", str(threads), "-c",
            str(PROMPT + GENERATED), "-p", str(PROMPT), "-n", str(GENERATED), "-r", "1"]
    _, _, peak = run_measured(long)
    config = read_config(MODEL)
    weights = 2 * parameters(config)
    cache = (config["num_hidden_layers"] * 2 * config["num_key_value_heads"] * config["head_dim"]
             * 2 * (PROMPT + GENERATED))
    seconds = lambda values: {"median": statistics.median(values), "samples": values}
    rows = [
        {"what": "compile Llama-1B (s)", **seconds(compiles)},
        {"what": "process start to first token, compiled file, weights in the page cache (s)",
         **seconds(firsts)},
        {"what": "peak resident memory over weights and KV cache (MB)",
         "median": (peak - weights - cache) / 1e6, "peak_bytes": peak, "weight_bytes": weights,
         "cache_bytes": cache},
    ]
    for row in rows:
        row["value"] = f"{row['median']:.2f}"
    if peers:
        rows[1]["peers"] = ", ".join(f"{name}: {note}" for name, note in peers.items())
    return rows
