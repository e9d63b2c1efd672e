#!/usr/bin/env python3
"""Makes tiny Hugging Face folders with seeded random weights, and what transformers computes
with them: test/data/models/NAME for every family in model_families.py.

expected.safetensors of a decoder holds input_ids, logits, greedy (32 tokens, the logits
recomputed for each), batch_ids and batch_mask (three rows, padded on the left) and
batch_logits (each row's last logits, computed for the row alone), and for some logits_bf16.
That of a classifier holds the same without greedy, with one row of logits a sequence.
That of an encoder holds batch_ids, batch_mask, token_type_ids (rows padded on the right),
hidden.N (the last layer's) and logits, pooled or both.
Everything but logits_bf16 is computed in f32 with the weights as they are stored.

Needs torch and transformers (made with 2.15 and 5.23).
Usage: make-model-cases.py OUTPUT [--only NAME,...] [--seed N] [--large] [--hidden]
"""
import argparse
import copy
import json
import os
import pathlib
import shutil

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
import transformers
from safetensors.torch import save_file

import model_families
from model_families import FAMILIES, Family, Shape

GREEDY = 32
# Greedy tokens must not hang on the last bits: the likeliest is ahead by this much.
MARGIN = 0.01
# Nor be the same token again and again.
DISTINCT = 6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--only", default="", help="names, with commas between")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="larger shapes than test/data has")
    parser.add_argument("--hidden", action="store_true", help="also write hidden.N of decoders")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    shape = model_families.LARGE if arguments.large else model_families.SMALL
    names = [name for name in arguments.only.split(",") if name] or list(FAMILIES)
    for name in names:
        make(arguments.output / name, FAMILIES[name], shape, arguments.seed, arguments.hidden)


def make(folder, family, shape, seed, hidden):
    """Writes one folder, with the first seed from `seed` on whose greedy tokens are clear."""
    for attempt in range(seed, seed + 200):
        model = build(family, shape, attempt)
        ids = random_ids(shape, attempt)
        if family.kind != "decoder":
            break
        greedy, margin = greedy_tokens(model, ids, stepwise=family.stepwise)
        if margin >= MARGIN and len(set(greedy.tolist())) >= DISTINCT:
            break
    else:
        raise SystemExit(f"{folder.name}: no seed gives a margin of {MARGIN}")

    if folder.exists():
        shutil.rmtree(folder)
    model = build(family, shape, attempt)  # Dynamic rope remembers the longest sequence.
    copy.deepcopy(model).to(getattr(torch, family.dtype)).save_pretrained(folder)
    for extra in folder.glob("*"):
        if extra.name not in ("config.json", "model.safetensors"):
            extra.unlink()
    if family.published:
        publish(folder / "config.json")

    about = {"family": model.config.model_type, "architecture": family.model, "kind": family.kind,
             "seed": attempt, "parameters": sum(p.numel() for p in model.parameters())}
    if family.kind.startswith("encoder"):
        tensors = encoder_values(model, shape, ids)
    else:
        tensors = decoder_values(model, family, ids, hidden)
        if family.kind == "decoder":
            tensors["greedy"] = greedy
            about["min_margin"] = margin
        if family.bf16:
            tensors["logits_bf16"] = forward(load(folder, family, torch.bfloat16), ids).logits[0].float()
    logits = tensors.get("logits", tensors.get("pooled"))
    about["logits_rms"] = logits.square().mean().sqrt().item()
    save_file({key: value.contiguous() for key, value in tensors.items()},
              folder / "expected.safetensors")
    (folder / "expected.json").write_text(json.dumps(about, indent=1) + "\n")
    check_reloads(folder, family, tensors)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder.name}: {size // 1024} KB, {about}", flush=True)


def build(family: Family, shape: Shape, seed):
    """The model in f32, with weights that its storage type can hold."""
    kind = getattr(transformers, family.model)
    config = kind.config_class(**family.config(shape))
    config._attn_implementation = family.attention
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    stored = getattr(torch, family.dtype)
    is_scaled = config.model_type.startswith("gemma")
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        weight.copy_(initial(name, weight, noise, is_scaled).to(stored).float())
    return model


def initial(name, weight, noise, is_scaled):
    """Values that make each part of a model matter: biases and norms differ from what they
    start as, scores of attention from each other. `is_scaled`: embeddings are multiplied."""
    if weight.ndim == 1 or "norm" in name:
        return weight + 0.2 * noise
    if any(word in name for word in ("embed", "wte", "wpe")):
        return (0.05 if is_scaled else 0.25) * noise
    if any(word in name for word in ("lm_head", "embed_out", "score", "out_proj.weight", "cls.")):
        return 2.0 * noise / weight.shape[-1] ** 0.5
    is_transposed = any(word in name for word in ("c_attn", "c_proj", "c_fc")) and "gpt2" in name
    fan_in = weight.shape[0] if is_transposed else weight.shape[-1]
    return 1.4 * noise / fan_in ** 0.5


def random_ids(shape: Shape, seed):
    # The first three ids are special in every family.
    return torch.randint(3, shape.vocab, (shape.prompt,),
                         generator=torch.Generator().manual_seed(1000 + seed))


def forward(model, ids, **more):
    return model(input_ids=ids[None], **more)


def step_by_step(model, ids, cache=None, start=0):
    """The logits of all tokens, each computed when it comes, and the cache."""
    rows = []
    for position, token in enumerate(ids, start):
        result = forward(model, token[None], past_key_values=cache, use_cache=True,
                         position_ids=torch.tensor([[position]]))
        cache = result.past_key_values
        rows.append(result.logits[0, -1])
    return torch.stack(rows), cache


def greedy_tokens(model, ids, stepwise):
    """Tokens, and by how much the likeliest is ahead at the least."""
    all_ids, margin, cache = ids, float("inf"), None
    for _ in range(GREEDY):
        if stepwise:
            new = all_ids if cache is None else all_ids[-1:]
            logits, cache = step_by_step(model, new, cache, len(all_ids) - len(new))
        else:
            logits = forward(model, all_ids, use_cache=False).logits[0]
        top = logits[-1].topk(2)
        margin = min(margin, (top.values[0] - top.values[1]).item())
        all_ids = torch.cat([all_ids, top.indices[:1]])
        if margin < MARGIN:
            break
    return all_ids[len(ids):], margin


def decoder_values(model, family, ids, hidden):
    def compute(row):
        if family.stepwise:
            return step_by_step(model, row)[0]
        return forward(model, row, use_cache=False).logits[0]

    tensors = {"input_ids": ids, "logits": compute(ids)}
    if hidden:
        result = forward(model, ids, output_hidden_states=True, use_cache=False)
        for layer, values in enumerate(result.hidden_states):
            tensors[f"hidden.{layer}"] = values[0]
    rows = [ids[start:start + size] for start, size in zip((0, 3, 5), family.rows)]
    longest = max(family.rows)
    pads = [torch.zeros(longest - len(row), dtype=torch.int64) for row in rows]
    tensors["batch_ids"] = torch.stack([torch.cat([pad, row]) for pad, row in zip(pads, rows)])
    tensors["batch_mask"] = torch.stack(
        [torch.cat([pad, torch.ones_like(row)]) for pad, row in zip(pads, rows)])
    results = [compute(row) for row in rows]
    tensors["batch_logits"] = torch.stack(
        [logits[-1] if logits.ndim == 2 else logits for logits in results])
    return tensors


def encoder_values(model, shape: Shape, ids):
    rows = [ids[:12], ids[2:11], ids[5:10]]
    pad = model.config.pad_token_id
    batch = torch.stack([torch.cat([row, torch.full((12 - len(row),), pad)]) for row in rows])
    mask = torch.stack([torch.arange(12) < len(row) for row in rows]).long()
    types = (torch.arange(12) >= 6).long().expand(3, -1) * (model.config.type_vocab_size > 1)
    result = model(input_ids=batch, attention_mask=mask, token_type_ids=types,
                   output_hidden_states=True)
    tensors = {"batch_ids": batch, "batch_mask": mask, "token_type_ids": types,
               f"hidden.{len(result.hidden_states) - 1}": result.hidden_states[-1]}
    if "logits" in result:
        tensors["logits"] = result.logits
    if result.get("pooler_output") is not None:
        tensors["pooled"] = result.pooler_output
    return tensors


def publish(path):
    """Rewrites a configuration with the keys that were used before rope_parameters."""
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    parameters = config.pop("rope_parameters", None)
    if config["model_type"] == "gemma3_text":
        parameters, local = parameters["full_attention"], parameters["sliding_attention"]
        config["rope_local_base_freq"] = local["rope_theta"]
        types = config["layer_types"]
        config["sliding_window_pattern"] = types.index("full_attention") + 1
    config.pop("layer_types", None)
    config.pop("_sliding_window_pattern", None)
    if parameters:
        names = {"rope_theta": "rope_theta", "partial_rotary_factor": "partial_rotary_factor"}
        if config["model_type"] == "gpt_neox":
            names = {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}
        for key, name in names.items():
            if key in parameters:
                config[name] = parameters.pop(key)
        config["rope_scaling"] = parameters if parameters["rope_type"] != "default" else None
        if parameters.get("rope_type") == "longrope":
            parameters.pop("original_max_position_embeddings", None)
            parameters.pop("factor", None)
            parameters["type"] = parameters.pop("rope_type")
    path.write_text(json.dumps(config, indent=2) + "\n")


def load(folder, family, dtype):
    return getattr(transformers, family.model).from_pretrained(
        folder, dtype=dtype, attn_implementation=family.attention).eval()


def check_reloads(folder, family, tensors):
    """The folder as transformers reads it gives the same."""
    model = load(folder, family, torch.float32)
    if family.kind.startswith("encoder"):
        result = model(input_ids=tensors["batch_ids"], attention_mask=tensors["batch_mask"],
                       token_type_ids=tensors["token_type_ids"])
        actual = result.logits if "logits" in result else result.pooler_output
        expected = tensors.get("logits", tensors.get("pooled"))
    else:
        if family.stepwise:
            actual = step_by_step(model, tensors["input_ids"])[0]
        else:
            actual = forward(model, tensors["input_ids"], use_cache=False).logits[0]
        expected = tensors["logits"]
    difference = (actual - expected).abs().max().item()
    if difference > 1e-5:
        raise SystemExit(f"{folder.name}: reads back {difference} off")


if __name__ == "__main__":
    main()
