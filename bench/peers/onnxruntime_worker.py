"""onnxruntime, f32 encoders: onnxruntime_worker.py THREADS MODELS REFERENCES."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy
import onnxruntime

from peers.worker import NoSuchModel, check, random_ids, reference_path, repeated, serve


class OnnxRuntime:
    def __init__(self, threads, models, references):
        self.models, self.references = models, references
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.calls = {}

    def prepare(self, work):
        if work["kind"] != "encode" or work["dtype"] != "f32":
            raise NoSuchModel
        session = onnxruntime.InferenceSession(os.path.join(self.models, "minilm.onnx"), self.options)
        ids = random_ids((work["shape"]["batch"], work["shape"]["tokens"]), 30000)
        call = lambda: session.run(None, {"input_ids": ids})[0]
        note = check(call(), numpy.load(reference_path(self.references, work["key"], "hidden")), "f32")
        self.calls[work["key"]] = lambda: repeated(call)
        return note

    def measure(self, work):
        return self.calls[work["key"]]()


if __name__ == "__main__":
    serve(OnnxRuntime(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
