#!/usr/bin/env python3
"""Prompt and generation speed of mlsys and of PyTorch eager, one after the other in turns."""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlsys", required=True, help="folder with mlsys and mlsys-run")
    parser.add_argument("--model", required=True, help="a .gguf file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=128)
    parser.add_argument("--dtype", default="bf16", choices=["bf16", "f32"])
    parser.add_argument("--output", help="file of the results")
    return parser.parse_args()


def make_eager(arguments):
    """The same architecture with random weights of the compute type: transformers would keep
    GGUF weights packed and not compute in bf16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(arguments.threads)
    dtype = torch.bfloat16 if arguments.dtype == "bf16" else torch.float32
    folder, name = os.path.split(os.path.abspath(arguments.model))
    config = AutoConfig.from_pretrained(folder, gguf_file=name)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).to(dtype).eval()


def time_eager(model, arguments):
    """Tokens a second of a prompt and of generation after one token."""
    import torch

    vocabulary = model.config.vocab_size
    prompt = torch.randint(0, vocabulary, (1, arguments.prompt))
    with torch.inference_mode():
        start = time.perf_counter()
        model(prompt, use_cache=True, logits_to_keep=1)
        prefill = arguments.prompt / (time.perf_counter() - start)
        token = prompt[:, :1]
        cache = None
        start = time.perf_counter()
        for _ in range(arguments.generate):
            result = model(token, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            token = result.logits[:, -1:].argmax(-1)
        decode = arguments.generate / (time.perf_counter() - start)
    return prefill, decode


def time_mlsys(program, arguments):
    command = [os.path.join(arguments.mlsys, "mlsys-run"), "bench", program, "--device", "cpu",
               "-t", str(arguments.threads), "-p", str(arguments.prompt),
               "-n", str(arguments.generate), "-r", "1", "-o", "json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    prefill = next(row["avg_ts"] for row in rows if row["n_prompt"])
    decode = next(row["avg_ts"] for row in rows if row["n_gen"])
    return prefill, decode


def processor():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"model name\s*:\s*(.*)", file.read())
    return found.group(1) if found else platform.machine()


def summarize(rates):
    return {"median": round(statistics.median(rates), 2), "min": round(min(rates), 2),
            "max": round(max(rates), 2)}


def main():
    arguments = parse_arguments()
    program = os.path.join("build", f"smollm2-{arguments.dtype}.mlsys")
    subprocess.run([os.path.join(arguments.mlsys, "mlsys"), "compile", arguments.model,
                    "--dtype", arguments.dtype, "-o", program], check=True)
    import torch
    import transformers

    model = make_eager(arguments)
    time_eager(model, arguments)
    times = {"mlsys": [], "eager": []}
    for repetition in range(arguments.repetitions):
        times["mlsys"].append(time_mlsys(program, arguments))
        times["eager"].append(time_eager(model, arguments))
        print(f"{repetition + 1} of {arguments.repetitions}", file=sys.stderr)
    results = {
        "processor": processor(), "threads": arguments.threads, "dtype": arguments.dtype,
        "model": "SmolLM2-135M-Instruct", "repetitions": arguments.repetitions,
        "torch": torch.__version__, "transformers": transformers.__version__, "rows": [],
    }
    print("| test | mlsys tok/s | eager tok/s | ratio |\n| --- | --- | --- | --- |")
    for index, test in enumerate([f"pp{arguments.prompt}", f"tg{arguments.generate}"]):
        ours = summarize([pair[index] for pair in times["mlsys"]])
        theirs = summarize([pair[index] for pair in times["eager"]])
        ratio = round(statistics.median(
            a[index] / b[index] for a, b in zip(times["mlsys"], times["eager"])), 2)
        results["rows"].append({"test": test, "mlsys": ours, "eager": theirs, "ratio": ratio})
        print(f"| {test} | {ours['median']} | {theirs['median']} | {ratio} |")
    name = re.sub(r"[^a-z0-9]+", "-", results["processor"].lower()).strip("-")
    path = arguments.output or os.path.join("bench", "results", f"cpu-eager-{name}.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(results, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
