"""PyTorch, eager or through torch.compile: torch_worker.py eager|compile THREADS MODELS."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy
import torch

from peers.worker import random_ids, reference_path, repeated, serve

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def rms_norm(x, residual, scale):
    total = x + residual
    wide = total.float()
    return total, (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * scale


POINTWISE = {
    "rms_norm": rms_norm,
    "softmax": lambda x: torch.softmax(x, -1),
    "gelu": lambda x: torch.nn.functional.gelu(x),
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}


class Linear(torch.nn.Module):
    """Without bias, and with a weight that a frozen graph packs."""

    def __init__(self, n, k, dtype):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.nn.Parameter(torch.randn(n, k, generator=generator).to(dtype),
                                         requires_grad=False)

    def forward(self, a):
        return torch.nn.functional.linear(a, self.weight)


class Torch:
    def __init__(self, compiled, models):
        self.compiled, self.models = compiled, models
        self.calls, self.loaded = {}, {}

    def wrap(self, function, **options):
        return torch.compile(function, **options) if self.compiled else function

    def prepare(self, work):
        make = {"decode": self.causal, "prefill": self.causal, "encode": self.encode,
                "pointwise": self.pointwise, "gemm": self.gemm}[work["kind"]]
        self.calls[work["key"]] = make(work)
        self.measure(work)

    def measure(self, work):
        with torch.no_grad():
            return self.calls[work["key"]]()

    def inputs(self, work):
        generator = torch.Generator().manual_seed(0)
        shape = (work["shape"]["N"], work["shape"]["columns"])
        tensors = [torch.rand(shape, generator=generator) * 2 - 1]
        if work["model"] == "rms_norm":
            tensors += [torch.rand(shape, generator=generator), torch.rand(shape[1], generator=generator)]
        return [tensor.to(DTYPES[work["dtype"]]) for tensor in tensors]

    def pointwise(self, work):
        inputs = self.inputs(work)
        function = self.wrap(POINTWISE[work["model"]])
        return lambda: repeated(lambda: function(*inputs))

    def gemm(self, work):
        shape = work["shape"]
        if work["dtype"] == "i8":
            generator = torch.Generator().manual_seed(1)
            a, w = (torch.randint(-127, 128, (rows, shape["K"]), dtype=torch.int8, generator=generator)
                    for rows in (shape["M"], shape["N"]))
            function = self.wrap(torch._int_mm, dynamic=False)
            return lambda: repeated(lambda: function(a, w.t()))
        dtype = DTYPES[work["dtype"]]
        a = torch.randn(shape["M"], shape["K"]).to(dtype)
        function = self.wrap(Linear(shape["N"], shape["K"], dtype).eval(), dynamic=False)
        return lambda: repeated(lambda: function(a))

    def encoder(self, work):
        from transformers import AutoModel

        return AutoModel.from_pretrained(self.models["minilm"], dtype=DTYPES[work["dtype"]],
                                         add_pooling_layer=False).eval()

    def encode(self, work):
        ids = torch.from_numpy(random_ids((work["shape"]["batch"], work["shape"]["tokens"]), 30000))
        function = self.wrap(self.encoder(work), dynamic=False)
        return lambda: repeated(lambda: function(ids))

    def causal(self, work):
        from transformers import AutoModelForCausalLM, DynamicCache, StaticCache

        name = work["model"]
        if name not in self.loaded:
            self.loaded[name] = AutoModelForCausalLM.from_pretrained(
                os.path.join(self.models["folder"], name), dtype=torch.bfloat16).eval()
        model = self.loaded[name]
        if work["kind"] == "prefill":
            ids = torch.from_numpy(random_ids((1, work["shape"]["tokens"]), model.config.vocab_size))

            def prefill(ids):
                result = model(ids, use_cache=True, logits_to_keep=1)
                return result.logits

            function = self.wrap(prefill, dynamic=False)
            return lambda: repeated(lambda: function(ids), 0.3, 1)
        depth, tokens = work["shape"]["depth"], work["shape"]["tokens"]
        prompt = torch.from_numpy(random_ids((1, depth), model.config.vocab_size))
        token = prompt[:, :1]

        def eager():
            from time import perf_counter

            cache = DynamicCache(config=model.config)
            model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
            model(token, past_key_values=cache, use_cache=True)
            start = perf_counter()
            for _ in range(tokens):
                model(token, past_key_values=cache, use_cache=True)
            return perf_counter() - start

        if not self.compiled:
            return eager
        cache = StaticCache(config=model.config, max_cache_len=depth + tokens + 16)
        step = torch.compile(lambda ids, positions: model(
            ids, position_ids=positions, past_key_values=cache, use_cache=True).logits, dynamic=False)

        def static():
            from time import perf_counter

            cache.reset()
            model(prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
            positions = [torch.tensor([[depth + i]]) for i in range(tokens + 4)]
            for i in range(4):
                step(token, positions[i])
            start = perf_counter()
            for i in range(tokens):
                step(token, positions[i + 4])
            return perf_counter() - start

        return static

    def reference(self, work, folder):
        """Writes inputs and results of a work in f32; returns the names of both."""
        key = work["key"]
        with torch.no_grad():
            if work["kind"] == "encode":
                ids = random_ids((work["shape"]["batch"], work["shape"]["tokens"]), 30000)
                hidden = self.encoder({**work, "dtype": "f32"})(torch.from_numpy(ids)).last_hidden_state
                inputs = {"input_ids": ids, "token_type_ids": numpy.zeros_like(ids)}
                outputs = {"hidden": hidden.numpy()}
            elif work["kind"] == "pointwise":
                tensors = self.inputs({**work, "dtype": "f32"})
                results = POINTWISE[work["model"]](*tensors)
                inputs = dict(zip(("x", "residual", "scale"), (t.numpy() for t in tensors)))
                outputs = ({"sum": results[0].numpy(), "norm": results[1].numpy()}
                           if isinstance(results, tuple) else {"y": results.numpy()})
            else:
                return {}
        for name, value in {**inputs, **outputs}.items():
            numpy.save(reference_path(folder, key, name), value)
        return {"inputs": list(inputs), "outputs": list(outputs)}


if __name__ == "__main__":
    compiled = sys.argv[1] == "compile"
    torch.set_num_threads(int(sys.argv[2]))
    if compiled:
        import torch._inductor.config

        # Weights are constants of the graph and are packed.
        torch._inductor.config.freezing = True
    serve(Torch(compiled, {"folder": sys.argv[3], "minilm": sys.argv[4]}))
