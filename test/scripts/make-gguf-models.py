#!/usr/bin/env python3
"""Makes test/data/gguf/models: tiny GGUF models with seeded random weights, named and laid out
as llama.cpp's converter does it, and beside each what transformers computes with its weights:
NAME.gguf and NAME.safetensors (input_ids, logits and 32 greedy tokens, or for an encoder ids,
mask and hidden states).

Needs torch, transformers and gguf (made with 2.15, 5.23 and 0.19).
Usage: make-gguf-models.py OUTPUT [--only NAME,...]
"""
import argparse
import importlib
import pathlib

import gguf
import torch
from gguf import GGMLQuantizationType as Type
from gguf import MODEL_ARCH as Arch
from safetensors.torch import save_file

import model_families
from model_families import Family, Shape, bert_like, gpt_like, llama_like, rope

cases = importlib.import_module("make-model-cases")

# Rows are a multiple of 32 long, as quantised types need it.
SHAPE = Shape(vocab=64, mlp=64, prompt=20)
# What the converter leaves in f32, beside vectors: norms, routers and small tables.
UNQUANTISED = ["norm", "mlp.gate.weight", "shared_expert_gate", "wpe", "position_embeddings",
               "token_type_embeddings"]
QUANTS = [Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1]


def family(model, config):
    return Family(model, config)


# Name: architecture, the family, the types of matrices (taken in turn).
MODELS = {
    "llama": (Arch.LLAMA, family("LlamaForCausalLM", lambda s: llama_like(s, **rope(
        "llama3", theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))), [Type.BF16]),
    "llama_quantised": (Arch.LLAMA, family("LlamaForCausalLM", lambda s: llama_like(
        s, attention_bias=True, **rope("linear", factor=2.0))), QUANTS),
    "mixtral": (Arch.LLAMA, family("MixtralForCausalLM", lambda s: llama_like(
        s, num_local_experts=3, num_experts_per_tok=2, intermediate_size=32)), [Type.BF16]),
    "qwen2": (Arch.QWEN2, family("Qwen2ForCausalLM", lambda s: llama_like(s)), [Type.Q8_0]),
    "qwen3": (Arch.QWEN3, family("Qwen3ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim)), [Type.F16]),
    "gemma2": (Arch.GEMMA2, family("Gemma2ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, query_pre_attn_scalar=s.wide_head_dim, sliding_window=6,
        attn_logit_softcapping=5.0, final_logit_softcapping=2.0)), [Type.BF16]),
    # The converter writes no pattern: every sixth layer sees the whole sequence.
    "gemma3": (Arch.GEMMA3, family("Gemma3ForCausalLM", lambda s: llama_like(
        s, num_attention_heads=2, num_key_value_heads=1, head_dim=s.head_dim,
        query_pre_attn_scalar=s.head_dim, num_hidden_layers=6, sliding_window=7,
        intermediate_size=32, layer_types=["sliding_attention"] * 5 + ["full_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 2.0},
        })), [Type.BF16]),
    "phi3": (Arch.PHI3, family("Phi3ForCausalLM", lambda s: llama_like(
        s, original_max_position_embeddings=s.positions, num_attention_heads=2,
        num_key_value_heads=1, **rope(partial_rotary_factor=0.5))), [Type.BF16]),
    "gpt2": (Arch.GPT2, family("GPT2LMHeadModel", lambda s: gpt_like(s)), [Type.BF16]),
    "gpt_neox": (Arch.GPTNEOX, family("GPTNeoXForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, intermediate_size=s.mlp,
        num_hidden_layers=s.layers, num_attention_heads=2, max_position_embeddings=s.positions,
        use_parallel_residual=True, **rope(partial_rotary_factor=0.25))), [Type.BF16]),
    "qwen2_moe": (Arch.QWEN2MOE, family("Qwen2MoeForCausalLM", lambda s: llama_like(
        s, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=32,
        shared_expert_intermediate_size=64)), [Type.BF16]),
    "qwen3_moe": (Arch.QWEN3MOE, family("Qwen3MoeForCausalLM", lambda s: llama_like(
        s, head_dim=s.head_dim, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32,
        norm_topk_prob=True)), [Type.Q8_0]),
    "olmo2": (Arch.OLMO2, family("Olmo2ForCausalLM", lambda s: llama_like(s)), [Type.BF16]),
    "stablelm": (Arch.STABLELM, family("StableLmForCausalLM", lambda s: llama_like(
        s, use_qkv_bias=True, use_parallel_residual=False,
        **rope(partial_rotary_factor=0.5))), [Type.F32]),
    "starcoder2": (Arch.STARCODER2, family("Starcoder2ForCausalLM", lambda s: llama_like(
        s, tie_word_embeddings=True)), [Type.Q5_1]),
    "command_r": (Arch.COMMAND_R, family("CohereForCausalLM", lambda s: llama_like(
        s, logit_scale=0.7, use_qk_norm=True)), [Type.BF16]),
    "granite": (Arch.GRANITE, family("GraniteForCausalLM", lambda s: llama_like(
        s, embedding_multiplier=3.0, logits_scaling=0.5, residual_multiplier=0.4,
        attention_multiplier=0.3)), [Type.BF16]),
    "falcon": (Arch.FALCON, family("FalconForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers,
        num_attention_heads=s.heads, num_kv_heads=s.kv_heads, new_decoder_architecture=True,
        bias=False, alibi=False)), [Type.BF16]),
    "bloom": (Arch.BLOOM, family("BloomForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, n_layer=s.layers, n_head=2,
        tie_word_embeddings=False)), [Type.BF16]),
    "mpt": (Arch.MPT, family("MptForCausalLM", lambda s: dict(
        vocab_size=s.vocab, d_model=s.hidden, n_layers=s.layers, n_heads=s.heads, max_seq_len=s.positions,
        attn_config={"clip_qkv": 1.5})), [Type.BF16]),
    "bert": (Arch.BERT, Family("BertModel", bert_like, kind="encoder"), [Type.BF16]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--only", default="", help="names, with commas between")
    arguments = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in [name for name in arguments.only.split(",") if name] or list(MODELS):
        make(arguments.output / name, *MODELS[name])


def make(path, arch, family, types):
    for seed in range(1, 200):
        model = cases.build(family, SHAPE, seed)
        stored = store(model, types)
        ids = cases.random_ids(SHAPE, seed)
        if family.kind == "encoder":
            break
        greedy, margin = cases.greedy_tokens(model, ids, stepwise=False)
        if margin >= cases.MARGIN and len(set(greedy.tolist())) >= cases.DISTINCT:
            break
    else:
        raise SystemExit(f"{path.name}: no seed gives a margin of {cases.MARGIN}")
    if family.kind == "encoder":
        expected = cases.encoder_values(model, SHAPE, ids)
    else:
        expected = {"input_ids": ids, "greedy": greedy,
                    "logits": cases.forward(model, ids, use_cache=False).logits[0]}
    save_file({key: value.contiguous() for key, value in expected.items()},
              path.with_suffix(".safetensors"))
    write(path.with_suffix(".gguf"), arch, model.config, stored)
    print(path.name, path.with_suffix(".gguf").stat().st_size // 1024, "KB, seed", seed)


def store(model, types):
    """Name to (weights as they were, type). The model gets the weights as mlsys reads them,
    which is the nearest bf16 number for each element of a quantised block. Quantised
    blocks lie in rows, so that a change of the rows' order does not change them."""
    stored = {}
    matrices = 0
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        kind = Type.F32
        if weight.ndim > 1 and not any(part in name for part in UNQUANTISED):
            kind = types[matrices % len(types)]
            matrices += 1
        stored[name] = (weight.clone(), kind)
        if kind != Type.F32:
            blocks = gguf.quantize(weight.numpy(), kind)
            values = torch.from_numpy(gguf.dequantize(blocks, kind).reshape(weight.shape))
            weight.copy_(values.bfloat16() if kind in QUANTS else values)
    return stored


def write(path, arch, config, stored):
    name = gguf.MODEL_ARCH_NAMES[arch]
    writer = gguf.GGUFWriter(str(path), name)
    writer.add_name(path.stem)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(config.vocab_size)
    metadata(writer, arch, config)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for tensor, (weight, kind) in tensors(arch, config, stored):
        mapped = names.get_name(tensor, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise SystemExit(f"{path.name}: {tensor} has no name in {name}")
        add(writer, mapped, weight, kind)
    for tensor, weight in rope_factors(config):
        add(writer, tensor, weight, Type.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add(writer, name, weight, kind):
    data = weight.squeeze().contiguous().numpy()
    writer.add_tensor(name, gguf.quantize(data, kind), raw_dtype=kind)


def metadata(writer, arch, config):
    read = lambda *keys: next(  # noqa: E731
        (getattr(config, key) for key in keys if getattr(config, key, None) is not None), None)
    heads, hidden = config.num_attention_heads, config.hidden_size
    head_dim = getattr(config, "head_dim", None) or hidden // heads
    ropes = getattr(config, "rope_parameters", None) or {}
    ropes = ropes.get("full_attention", ropes)
    writer.add_context_length(read("max_position_embeddings", "max_seq_len") or SHAPE.positions)
    writer.add_embedding_length(hidden)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(read("intermediate_size", "ffn_hidden_size", "n_inner") or 4 * hidden)
    writer.add_head_count(heads)
    if arch not in (Arch.GPT2, Arch.GPTNEOX):
        writer.add_head_count_kv(read("num_kv_heads", "num_key_value_heads") or heads)
    if (epsilon := read("rms_norm_eps")) is not None:
        writer.add_layer_norm_rms_eps(epsilon)
    else:
        writer.add_layer_norm_eps(read("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"))
    if head_dim * heads != hidden or arch in (Arch.GEMMA2, Arch.GEMMA3):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if arch in (Arch.LLAMA, Arch.GRANITE, Arch.PHI3, Arch.GPTNEOX, Arch.STABLELM):
        writer.add_rope_dimension_count(int(head_dim * ropes.get("partial_rotary_factor", 1.0)))
    if "rope_theta" in ropes and arch not in (Arch.GPTNEOX, Arch.FALCON, Arch.GEMMA2):
        writer.add_rope_freq_base(ropes["rope_theta"])
    if ropes.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(ropes["factor"])
    if (experts := read("num_local_experts", "num_experts")) is not None:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if arch != Arch.LLAMA:
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if arch == Arch.QWEN2MOE:
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    if arch == Arch.GEMMA2:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if arch in (Arch.GEMMA2, Arch.GEMMA3):
        writer.add_sliding_window(config.sliding_window)
    if arch == Arch.PHI3:
        writer.add_rope_scaling_orig_ctx_len(config.original_max_position_embeddings)
        writer.add_sliding_window(config.sliding_window or 0)
    if arch in (Arch.GPTNEOX, Arch.STABLELM):
        writer.add_parallel_residual(config.use_parallel_residual)
    if arch == Arch.FALCON:
        writer.add_tensor_data_layout("jploski")
    if arch == Arch.MPT:
        writer.add_clamp_kqv(config.attn_config.clip_qkv)
        writer.add_max_alibi_bias(config.attn_config.alibi_bias_max)
    if arch == Arch.COMMAND_R:
        writer.add_logit_scale(config.logit_scale)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    if arch == Arch.GRANITE:
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)
    if arch == Arch.BERT:
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        writer.add_token_type_count(config.type_vocab_size)


def tensors(arch, config, stored):
    """The tensors as the converter lays them out, still with the names of transformers."""
    for name, (weight, kind) in stored.items():
        if name.startswith("pooler.") or name.endswith("rotary_emb.inv_freq"):
            continue
        if arch in (Arch.LLAMA, Arch.GRANITE):
            if ".q_proj." in name:
                weight = pair_rows(weight, config.num_attention_heads)
            elif ".k_proj." in name:
                weight = pair_rows(weight, config.num_key_value_heads)
        if arch in (Arch.GEMMA2, Arch.GEMMA3) and name.endswith("norm.weight"):
            weight = weight + 1
        if arch == Arch.GPT2 and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weight = weight.T
        if arch == Arch.BLOOM:
            name = name.removeprefix("transformer.")
        if "query_key_value" in name:
            weight = split_groups(weight, config)
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            # Stacked over experts: the gates, then the ups, in the rows of one tensor.
            base, part = name.rsplit(".", 1)
            if part == "down_proj":
                yield f"{base}.down_proj.weight", (weight, kind)
                continue
            gate, up = weight.chunk(2, dim=1)
            yield f"{base}.gate_proj.weight", (gate, kind)
            yield f"{base}.up_proj.weight", (up, kind)
            continue
        yield name, (weight, kind)


def pair_rows(weight, heads):
    """Rows of each head so that a rotated pair lies side by side."""
    half = weight.shape[0] // heads // 2
    return weight.view(heads, 2, half, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def split_groups(weight, config):
    """[groups, queries + key + value] to all queries, all keys, all values."""
    heads = config.num_attention_heads
    groups = getattr(config, "num_kv_heads", heads)
    head_dim = config.hidden_size // heads
    parts = weight.view(groups, heads // groups + 2, head_dim, *weight.shape[1:])
    flat = lambda part: part.reshape(-1, *weight.shape[1:])  # noqa: E731
    return torch.cat([flat(parts[:, :-2]), flat(parts[:, -2:-1]), flat(parts[:, -1:])])


def rope_factors(config):
    """What llama3 divides the frequencies by."""
    ropes = getattr(config, "rope_parameters", None) or {}
    if ropes.get("rope_type") != "llama3":
        return
    dim = config.hidden_size // config.num_attention_heads
    plain = ropes["rope_theta"] ** -(torch.arange(0, dim, 2).float() / dim)
    scaled, _ = cases.transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    yield "rope_freqs.weight", plain / scaled


if __name__ == "__main__":
    main()
