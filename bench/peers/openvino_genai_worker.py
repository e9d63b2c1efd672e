"""OpenVINO GenAI: its LLMPipeline with paged attention, on the model that openvino_worker.py exports:
openvino_genai_worker.py THREADS MODELS."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import openvino
import openvino_genai

from peers.openvino_model import exported, vocabulary_of
from peers.worker import NoSuchModel, random_ids, repeated, serve


class OpenVinoGenai:
    def __init__(self, threads, models):
        self.threads, self.models = threads, models
        self.pipelines, self.seed = {}, 0

    def pipeline(self, name):
        """A model's pipeline and the size of its vocabulary."""
        if name not in self.pipelines:
            folder = exported(self.models, name)
            pipeline = openvino_genai.LLMPipeline(
                folder, "CPU", INFERENCE_PRECISION_HINT="bf16", KV_CACHE_PRECISION="bf16",
                INFERENCE_NUM_THREADS=self.threads, PERFORMANCE_HINT="LATENCY")
            self.pipelines[name] = pipeline, vocabulary_of(folder)
        return self.pipelines[name]

    def generate(self, work, tokens):
        """Durations in seconds: to the first token, and of each token after it."""
        pipeline, vocabulary = self.pipeline(work["model"])
        # Never the same prompt: the pipeline keeps the keys and values of those it has seen.
        self.seed += 1
        count = work["shape"]["tokens" if work["kind"] == "prefill" else "depth"]
        prompt = random_ids((1, count), vocabulary, self.seed)
        config = openvino_genai.GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens,
                                                 ignore_eos=True, do_sample=False)
        result = pipeline.generate(openvino.Tensor(prompt), config)
        if len(result.tokens[0]) != tokens:
            raise ValueError(f"{len(result.tokens[0])} tokens instead of {tokens}")
        metrics = result.perf_metrics
        return metrics.get_ttft().mean * 1e-3, metrics.get_tpot().mean * 1e-3

    def prepare(self, work):
        if work["kind"] not in ("decode", "prefill"):
            raise NoSuchModel
        self.measure(work)

    def measure(self, work):
        if work["kind"] == "prefill":
            return self.generate(work, 1)[0]
        tokens = work["shape"]["tokens"]
        return self.generate(work, tokens + 1)[1] * tokens


if __name__ == "__main__":
    serve(OpenVinoGenai(int(sys.argv[1]), sys.argv[2]))
