#!/usr/bin/env python3
"""Writes test/data/sampling/cases.json: logits, sampling options, and the distribution that is
left, from Hugging Face's logits processors in the order of its generate.

Needs torch and transformers (made with transformers 5.23). Usage: make-sampling-cases.py OUTPUT
"""
import json
import sys

import torch
from transformers.generation import logits_process as hf

VOCABULARY = 40
CONTEXT = [3, 7, 7, 1, 30, 3, 7, 12]

OPTIONS = [
    {"temperature": 1.0},
    {"temperature": 0.5},
    {"temperature": 2.0},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.0, "top_k": 100},
    {"temperature": 1.0, "top_p": 0.1},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 1.0, "top_p": 0.99},
    {"temperature": 1.0, "min_p": 0.05},
    {"temperature": 1.0, "min_p": 0.5},
    {"temperature": 1.0, "typical_p": 0.2},
    {"temperature": 1.0, "typical_p": 0.9},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.8},
    {"temperature": 1.0, "repetition_penalty": 1.3, "last": 2},
    {"temperature": 1.0, "presence_penalty": 0.5},
    {"temperature": 1.0, "frequency_penalty": 0.7, "last": 6},
    {"temperature": 1.0, "bias": {"5": 2.5, "6": -4.0, "11": "-inf"}},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.9},
    {"temperature": 1.5, "top_k": 30, "min_p": 0.1, "typical_p": 0.8},
    {"temperature": 1.3, "top_k": 25, "top_p": 0.95, "min_p": 0.02, "typical_p": 0.7,
     "repetition_penalty": 1.2, "presence_penalty": 0.3, "frequency_penalty": 0.2,
     "bias": {"7": 1.0, "0": -1.0}},
]


def distribution(logits, options):
    scores = torch.tensor([logits], dtype=torch.float64)
    seen = CONTEXT[-options["last"]:] if "last" in options else CONTEXT
    ids = torch.tensor([seen])
    if "bias" in options:
        bias = {(int(i),): float(b) for i, b in options["bias"].items()}
        scores = hf.SequenceBiasLogitsProcessor(bias)(ids, scores).double()
    if "repetition_penalty" in options:
        scores = hf.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])(ids, scores)
    # These two are OpenAI's: Hugging Face has none of that form.
    for token in set(seen):
        scores[0, token] -= options.get("presence_penalty", 0)
        scores[0, token] -= options.get("frequency_penalty", 0) * seen.count(token)
    warpers = [("temperature", hf.TemperatureLogitsWarper), ("top_k", hf.TopKLogitsWarper),
               ("top_p", hf.TopPLogitsWarper), ("min_p", hf.MinPLogitsWarper),
               ("typical_p", hf.TypicalLogitsWarper)]
    for name, warper in warpers:
        if name in options:
            scores = warper(options[name])(ids, scores)
    return {str(i): p for i, p in enumerate(torch.softmax(scores, -1)[0].tolist()) if p > 0}


def main():
    torch.manual_seed(0)
    all_logits = [[round(x, 4) for x in (torch.randn(VOCABULARY) * scale).tolist()]
                  for scale in (1.0, 3.0)]
    cases = [{"logits": which, "options": options, "expected": distribution(logits, options)}
             for which, logits in enumerate(all_logits) for options in OPTIONS]
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"context": CONTEXT, "logits": all_logits, "cases": cases}, file, indent=0)
        file.write("\n")


main()
