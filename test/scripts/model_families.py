"""The model families that make-model-cases.py makes folders of: for each folder name the
transformers class and the settings of its configuration, as functions of a Shape.

A family is a Family in FAMILIES. What its folder is for is said beside it where the name
does not say it.
"""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Shape:
    """The sizes that folders are made in."""

    vocab: int = 96
    hidden: int = 32
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 8  # hidden / heads
    wide_head_dim: int = 16  # where a family lets it be chosen: heads * it is not hidden
    mlp: int = 48
    layers: int = 2
    experts: int = 4
    prompt: int = 24
    positions: int = 128


SMALL = Shape()
LARGE = Shape(vocab=331, hidden=128, heads=8, kv_heads=2, head_dim=16, wide_head_dim=32, mlp=192,
              layers=4, experts=8, prompt=61, positions=256)


@dataclasses.dataclass(frozen=True)
class Family:
    """One folder: `model` is a class of transformers, `config` gives its settings."""

    model: str
    config: object  # Shape -> dict
    dtype: str = "bfloat16"  # what the weights are stored as
    published: bool = False  # write config.json with the keys of models published before 2025
    kind: str = "decoder"  # or encoder, classifier (a decoder), encoder_classifier
    bf16: bool = False  # also store PyTorch's logits in bf16
    stepwise: bool = False  # computed token by token: what is cached stays as it was
    rows: tuple = (14, 9, 5)  # lengths of the batch's sequences
    attention: str = "eager"  # which of transformers' implementations


def llama_like(s, **more):
    settings = dict(vocab_size=s.vocab, hidden_size=s.hidden, intermediate_size=s.mlp,
                    num_hidden_layers=s.layers, num_attention_heads=s.heads,
                    num_key_value_heads=s.kv_heads, max_position_embeddings=s.positions,
                    pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return {key: value for key, value in {**settings, **more}.items() if value is not DROP}


DROP = object()


def rope(kind="default", theta=10000.0, **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": theta, **more}}


def gpt_like(s, **more):
    return dict(vocab_size=s.vocab, n_embd=s.hidden, n_layer=s.layers, n_head=s.heads,
                n_positions=s.positions, pad_token_id=0, bos_token_id=1, eos_token_id=2, **more)


def bert_like(s, **more):
    return {**dict(vocab_size=s.vocab, hidden_size=s.hidden, intermediate_size=s.mlp,
                   num_hidden_layers=s.layers, num_attention_heads=s.heads,
                   max_position_embeddings=s.positions, pad_token_id=0), **more}


def roberta_like(s, **more):
    # Positions start after the padding token's.
    return bert_like(s, max_position_embeddings=s.positions + 2, type_vocab_size=1,
                     pad_token_id=1, bos_token_id=0, eos_token_id=2, **more)


def windows(s):
    """Layers of gemma3, cohere2 and the like: windows, and the whole sequence in the last."""
    return {"num_hidden_layers": s.layers + 1, "sliding_window": 7,
            "layer_types": ["sliding_attention"] * s.layers + ["full_attention"]}


def factors(s, first, step):
    return [first + step * i for i in range(s.head_dim // 2)]


FAMILIES = {
    # Llama, and what changes its positions.
    "llama_linear": Family("LlamaForCausalLM", lambda s: llama_like(
        s, **rope("linear", factor=3.0)), published=True),
    "llama_yarn": Family("LlamaForCausalLM", lambda s: llama_like(
        s, **rope("yarn", factor=8.0, original_max_position_embeddings=16)), published=True),
    # Its rope depends on the length of the text so far.
    "llama_dynamic": Family("LlamaForCausalLM", lambda s: llama_like(
        s, max_position_embeddings=16, **rope("dynamic", factor=8.0)), stepwise=True),
    "smollm3": Family("SmolLM3ForCausalLM", lambda s: llama_like(
        s, num_hidden_layers=s.layers + 1, no_rope_layers=[1] * s.layers + [0])),
    "mistral_window": Family("MistralForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, sliding_window=5), published=True),
    "qwen2_window": Family("Qwen2ForCausalLM", lambda s: llama_like(
        s, use_sliding_window=True, sliding_window=6, max_window_layers=1), published=True),
    "granite": Family("GraniteForCausalLM", lambda s: llama_like(
        s, embedding_multiplier=3.0, logits_scaling=0.5, residual_multiplier=0.4,
        attention_multiplier=0.3, attention_bias=True), dtype="float32", bf16=True),
    "granitemoe": Family("GraniteMoeForCausalLM", lambda s: llama_like(
        s, embedding_multiplier=2.0, logits_scaling=0.7, residual_multiplier=0.5,
        attention_multiplier=0.4, num_local_experts=s.experts, num_experts_per_tok=2,
        intermediate_size=s.mlp // 2)),
    "seed_oss": Family("SeedOssForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, attention_bias=True, attention_out_bias=False)),
    "ernie4_5": Family("Ernie4_5ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, use_bias=True)),
    # Where the norms are.
    "olmo": Family("OlmoForCausalLM", lambda s: llama_like(s, clip_qkv=1.5), published=True),
    "olmo2": Family("Olmo2ForCausalLM", lambda s: llama_like(s), dtype="float32", bf16=True),
    "exaone4": Family("Exaone4ForCausalLM", lambda s: llama_like(s, **windows(s))),
    "glm4": Family("Glm4ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, attention_bias=True, **rope(partial_rotary_factor=0.5))),
    "gemma": Family("GemmaForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, num_key_value_heads=1), published=True),
    "gemma3": Family("Gemma3ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, query_pre_attn_scalar=24, **windows(s),
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 500000.0, "factor": 2.0},
        }), bf16=True),
    # As it is published: the pattern instead of the layers' types.
    "gemma3_published": Family("Gemma3ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, query_pre_attn_scalar=12, intermediate_size=s.mlp // 2,
        num_hidden_layers=3, sliding_window=9,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        }), published=True),
    # Fused projections.
    "phi3_partial": Family("Phi3ForCausalLM", lambda s: llama_like(
        s, num_attention_heads=2, num_key_value_heads=1, sliding_window=11,
        **rope(partial_rotary_factor=0.5)), published=True, bf16=True),
    # Every text is longer than the first context, or none is.
    "phi3_longrope": Family("Phi3ForCausalLM", lambda s: llama_like(
        s, original_max_position_embeddings=16,
        **rope("longrope", short_factor=factors(s, 1.0, 0.1), long_factor=factors(s, 1.5, 0.9))),
        published=True, rows=(20, 18, 17)),
    "phi3_longrope_short": Family("Phi3ForCausalLM", lambda s: llama_like(
        s, original_max_position_embeddings=s.positions,
        **rope("longrope", short_factor=factors(s, 1.2, 0.6), long_factor=factors(s, 1.5, 0.9))),
        published=True),
    "gpt_bigcode": Family("GPTBigCodeForCausalLM", lambda s: gpt_like(s, n_inner=s.mlp)),
    "falcon": Family("FalconForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers,
        num_attention_heads=s.heads, num_kv_heads=s.kv_heads, ffn_hidden_size=s.mlp,
        new_decoder_architecture=True, bias=False, alibi=False, parallel_attn=True,
        multi_query=False, max_position_embeddings=s.positions, bos_token_id=1, eos_token_id=2)),
    "falcon_7b": Family("FalconForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers,
        num_attention_heads=s.heads, ffn_hidden_size=4 * s.hidden,
        new_decoder_architecture=False, bias=True, alibi=False, parallel_attn=True,
        multi_query=True, max_position_embeddings=s.positions, bos_token_id=1, eos_token_id=2),
        published=True),
    # ALiBi: slopes of bf16, scaled; of six heads; with a scale and a clamp.
    "falcon_rw": Family("FalconForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, num_hidden_layers=s.layers,
        num_attention_heads=s.heads, ffn_hidden_size=s.mlp, new_decoder_architecture=False, bias=True,
        alibi=True, parallel_attn=False, multi_query=False, bos_token_id=1, eos_token_id=2),
        attention="sdpa"),  # the eager one adds the slopes twice
    "bloom": Family("BloomForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=6 * s.head_dim, n_layer=s.layers, n_head=6,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2), dtype="float16"),
    "mpt": Family("MptForCausalLM", lambda s: dict(
        vocab_size=s.vocab, d_model=s.hidden, n_layers=s.layers, n_heads=s.heads, max_seq_len=s.positions,
        attn_config={}, bos_token_id=1, eos_token_id=2), bf16=True),
    "mpt_clamped": Family("MptForCausalLM", lambda s: dict(
        vocab_size=s.vocab, d_model=3 * s.wide_head_dim, n_layers=s.layers, n_heads=3, max_seq_len=s.positions,
        attn_config={"clip_qkv": 1.2, "softmax_scale": 0.4}, bos_token_id=1, eos_token_id=2)),
    # Layer norms, partial rope, attention and MLP side by side.
    "gpt_neox": Family("GPTNeoXForCausalLM", lambda s: llama_like(
        s, num_key_value_heads=DROP, num_attention_heads=2, use_parallel_residual=True,
        **rope(partial_rotary_factor=0.25)), published=True, bf16=True),
    "gpt_neox_serial": Family("GPTNeoXForCausalLM", lambda s: llama_like(
        s, num_key_value_heads=DROP, use_parallel_residual=False, attention_bias=False,
        hidden_act="gelu_new", **rope(partial_rotary_factor=0.5))),
    "gptj": Family("GPTJForCausalLM", lambda s: gpt_like(
        s, rotary_dim=4, n_inner=s.mlp, tie_word_embeddings=False)),
    "phi": Family("PhiForCausalLM", lambda s: llama_like(
        s, **rope(partial_rotary_factor=0.5)), published=True),
    "stablelm": Family("StableLmForCausalLM", lambda s: llama_like(
        s, use_qkv_bias=True, num_attention_heads=2, num_key_value_heads=1,
        **rope(partial_rotary_factor=0.25)), published=True, bf16=True),
    "stablelm_parallel": Family("StableLmForCausalLM", lambda s: llama_like(
        s, use_parallel_residual=True, qk_layernorm=True, **rope(partial_rotary_factor=0.5))),
    "starcoder2": Family("Starcoder2ForCausalLM", lambda s: llama_like(
        s, sliding_window=8, tie_word_embeddings=True), bf16=True),
    "cohere": Family("CohereForCausalLM", lambda s: llama_like(
        s, logit_scale=0.7, tie_word_embeddings=True), bf16=True, published=True),
    "cohere_qk_norm": Family("CohereForCausalLM", lambda s: llama_like(
        s, logit_scale=0.5, use_qk_norm=True)),
    "cohere2": Family("Cohere2ForCausalLM", lambda s: llama_like(
        s, head_dim=s.wide_head_dim, logit_scale=0.6, **windows(s))),
    "opt": Family("OPTForCausalLM", lambda s: dict(
        vocab_size=s.vocab, hidden_size=s.hidden, word_embed_proj_dim=s.hidden, ffn_dim=s.mlp,
        num_hidden_layers=s.layers, num_attention_heads=s.heads,
        max_position_embeddings=s.positions, pad_token_id=0, bos_token_id=1, eos_token_id=2)),
    # Experts.
    "qwen2_moe": Family("Qwen2MoeForCausalLM", lambda s: llama_like(
        s, num_experts=s.experts, num_experts_per_tok=2, moe_intermediate_size=s.mlp // 2,
        shared_expert_intermediate_size=s.mlp), bf16=True),
    "qwen2_moe_sparse": Family("Qwen2MoeForCausalLM", lambda s: llama_like(
        s, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1],
        intermediate_size=s.mlp // 2, num_experts=3, num_experts_per_tok=1,
        moe_intermediate_size=s.mlp // 3, shared_expert_intermediate_size=s.mlp // 2,
        norm_topk_prob=True), published=True),
    "olmoe": Family("OlmoeForCausalLM", lambda s: llama_like(
        s, num_experts=s.experts, num_experts_per_tok=2, intermediate_size=s.mlp // 2,
        clip_qkv=1.2)),
    # One answer for a whole sequence.
    "llama_classifier": Family("LlamaForSequenceClassification", lambda s: llama_like(
        s, num_labels=3), kind="classifier"),
    "llama_reward": Family("LlamaForSequenceClassification", lambda s: llama_like(
        s, num_labels=1, num_hidden_layers=1), kind="classifier", published=True),
    "qwen2_classifier": Family("Qwen2ForSequenceClassification", lambda s: llama_like(
        s, num_labels=2, num_hidden_layers=1), kind="classifier"),
    # Encoders.
    "roberta": Family("RobertaForMaskedLM", roberta_like, kind="encoder"),
    "bert_pooler": Family("BertModel", bert_like, kind="encoder"),
    "bert_classifier": Family("BertForSequenceClassification", lambda s: bert_like(
        s, num_labels=3, num_hidden_layers=1), kind="encoder_classifier"),
    "roberta_classifier": Family("RobertaForSequenceClassification", lambda s: roberta_like(
        s, num_labels=2, num_hidden_layers=1), kind="encoder_classifier"),
}
