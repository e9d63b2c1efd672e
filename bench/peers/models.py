"""Makes the models that are measured: random weights of real shapes, in every peer's form."""
import json
import os
import shutil
import subprocess
import sys

from .places import BENCH, ROOT, model_path


def make_causal(name):
    """A Hugging Face folder in bf16 and a GGUF file of the same shape."""
    folder, gguf_file = model_path(name), model_path(name + ".gguf")
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        write_safetensors(name, folder)
    if not os.path.exists(gguf_file):
        try:
            write_gguf(folder, gguf_file)
        except ImportError as error:
            print(f"no {gguf_file}: {error}", file=sys.stderr)


def causal_tensors(config):
    """Names and shapes, as transformers has them; tied embeddings are there once."""
    hidden, width, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "self_attn.q_proj.weight", (q, hidden)
        yield at + "self_attn.k_proj.weight", (kv, hidden)
        yield at + "self_attn.v_proj.weight", (kv, hidden)
        yield at + "self_attn.o_proj.weight", (hidden, q)
        yield at + "post_attention_layernorm.weight", (hidden,)
        yield at + "mlp.gate_proj.weight", (width, hidden)
        yield at + "mlp.up_proj.weight", (width, hidden)
        yield at + "mlp.down_proj.weight", (hidden, width)
    yield "model.norm.weight", (hidden,)


def write_safetensors(name, folder):
    import torch
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    shutil.copy(os.path.join(BENCH, "models", name, "config.json"), folder)
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    torch.manual_seed(0)
    tensors = {}
    for tensor, shape in causal_tensors(config):
        value = torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.02
        tensors[tensor] = value.to(torch.bfloat16)
    path = os.path.join(folder, "model.safetensors")
    save_file(tensors, path + ".part", metadata={"format": "pt"})
    os.rename(path + ".part", path)


def write_gguf(folder, path):
    """No vocabulary: llama-bench takes random ids."""
    import gguf
    import torch
    from safetensors import safe_open

    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    writer = gguf.GGUFWriter(path + ".part", "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_tokenizer_model("no_vocab")
    with safe_open(os.path.join(folder, "model.safetensors"), "pt") as file:
        for name in file.keys():
            value = file.get_tensor(name)
            if name == "model.embed_tokens.weight":
                target = "token_embd.weight"
            elif name == "model.norm.weight":
                target = "output_norm.weight"
            else:
                _, _, layer, rest = name.split(".", 3)
                target = f"blk.{layer}.{names[rest.removesuffix('.weight')]}.weight"
            if value.dim() == 1:
                writer.add_tensor(target, value.float().numpy())
            else:
                writer.add_tensor(target, value.view(torch.uint8).numpy(),
                                  raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(path + ".part", path)


def make_minilm():
    """The folder of MiniLM, and the model as ONNX without pooling and mask."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "fetch-minilm")], check=True, text=True,
                          stdout=subprocess.PIPE)
    folder = os.path.join(ROOT, done.stdout.strip())
    path = model_path("minilm.onnx")
    if not os.path.exists(path):
        try:
            write_onnx(folder, path)
        except Exception as error:
            print(f"no {path}: {error}", file=sys.stderr)
    return folder


def write_onnx(folder, path):
    import torch
    from transformers import AutoModel

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModel.from_pretrained(folder, add_pooling_layer=False)

        def forward(self, input_ids):
            embedded = self.model.embeddings(input_ids=input_ids)
            return self.model.encoder(embedded, attention_mask=None)[0]

    axes = {"input_ids": {0: "batch", 1: "tokens"}, "hidden": {0: "batch", 1: "tokens"}}
    torch.onnx.export(Encoder().eval(), (torch.randint(1000, 2000, (2, 128)),), path + ".part",
                      input_names=["input_ids"], output_names=["hidden"], dynamic_axes=axes,
                      dynamo=False)
    os.rename(path + ".part", path)
