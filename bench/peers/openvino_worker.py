"""OpenVINO without its GenAI library: stateful language models, and encoders:
openvino_worker.py THREADS MODELS REFERENCES."""
import os
import sys
from time import perf_counter

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy
import openvino
from openvino import opset13

from peers.openvino_model import exported
from peers.worker import NoSuchModel, check, random_ids, reference_path, repeated, serve


def keep_last_logits(model):
    """Logits of the last token only, as OpenVINO GenAI does."""
    product = model.output("logits").node.input_value(0).node
    while product.get_type_name() != "MatMul":
        product = product.input_value(0).node
    last = opset13.gather(product.input_value(0), opset13.constant(numpy.array([-1])),
                          opset13.constant(numpy.array(1)))
    product.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()


class OpenVino:
    def __init__(self, threads, models, references):
        self.threads, self.models, self.references = threads, models, references
        self.core = openvino.Core()
        self.calls, self.requests = {}, {}

    def compile(self, model, dtype, **more):
        return self.core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": dtype, "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY", **more}).create_infer_request()

    def prepare(self, work):
        if work["kind"] == "encode":
            return self.encode(work)
        if work["kind"] not in ("decode", "prefill"):
            raise NoSuchModel
        self.causal(work)
        self.measure(work)

    def measure(self, work):
        return self.calls[work["key"]]()

    def encode(self, work):
        path = os.path.join(self.models, "minilm.onnx")
        request = self.compile(self.core.read_model(path), work["dtype"])
        ids = random_ids((work["shape"]["batch"], work["shape"]["tokens"]), 30000)
        call = lambda: request.infer({"input_ids": ids})[0]
        reference = numpy.load(reference_path(self.references, work["key"], "hidden"))
        note = check(call(), reference, work["dtype"])
        self.calls[work["key"]] = lambda: repeated(call)
        return note

    def causal(self, work):
        name = work["model"]
        if name not in self.requests:
            model = self.core.read_model(
                os.path.join(exported(self.models, name), "openvino_model.xml"))
            vocabulary = model.output("logits").partial_shape[2].get_length()
            keep_last_logits(model)
            names = {port.get_any_name() for port in model.inputs}
            request = self.compile(model, "bf16", KV_CACHE_PRECISION="bf16")
            self.requests[name] = request, names, vocabulary
        request, names, vocabulary = self.requests[name]

        def step(ids, past):
            count = ids.shape[1]
            inputs = {"input_ids": ids,
                      "position_ids": numpy.arange(past, past + count, dtype=numpy.int64)[None],
                      "attention_mask": numpy.ones((1, past + count), numpy.int64),
                      "beam_idx": numpy.zeros(1, numpy.int32)}
            request.infer({key: value for key, value in inputs.items() if key in names})

        count = work["shape"]["tokens"] if work["kind"] == "prefill" else work["shape"]["depth"]
        prompt = random_ids((1, count), vocabulary)

        def prefill():
            request.reset_state()
            step(prompt, 0)

        def decode():
            prefill()
            step(prompt[:, :1], count)
            start = perf_counter()
            for i in range(work["shape"]["tokens"]):
                step(prompt[:, :1], count + 1 + i)
            return perf_counter() - start

        self.calls[work["key"]] = (decode if work["kind"] == "decode"
                                   else lambda: repeated(prefill, 0.3, 1))


if __name__ == "__main__":
    serve(OpenVino(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
