"""Build a family's decoder from numbers: transformers' class, our attention, head and packing."""

from __future__ import annotations

from typing import Any

import transformers

from mmcore.interfaces import Attention
from mmcore.kit.attention_in_transformers import transformers_attention
from mmcore.kit.decoder import PackedDecoder
from mmcore_hf_causal.config import Numbers
from mmcore_hf_causal.families import FAMILIES


def build_decoder(
    numbers: Numbers, *, attention: Attention, head_rows: int, recompute: bool
) -> PackedDecoder:
    """A decoder with initial values.

    Args:
        numbers: of a tested family.
        attention: the kernel of the packed attention.
        head_rows, recompute: see ``PackedDecoder``.
    """
    config = transformers_config(numbers)
    config._attn_implementation = transformers_attention(attention)
    model = getattr(transformers, FAMILIES[numbers.family].model)(config)
    return PackedDecoder(
        model,
        head_rows=head_rows,
        logit_cap=numbers.logit_cap or None,
        tied=numbers.tied,
        recompute=recompute,
    )


def transformers_config(numbers: Numbers) -> Any:
    """The family's configuration in transformers."""
    settings: dict[str, Any] = {
        "hidden_size": numbers.width,
        "num_hidden_layers": numbers.layers,
        "num_attention_heads": numbers.heads,
        "num_key_value_heads": numbers.kv_heads,
        "intermediate_size": numbers.mlp_width,
        "vocab_size": numbers.vocabulary,
        "max_position_embeddings": numbers.context,
        "rms_norm_eps": numbers.norm_eps,
        "initializer_range": numbers.init_std,
        "tie_word_embeddings": numbers.tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,  # a padding row of the embedding would get no gradient
    }
    name = numbers.family
    rope = _rope(numbers)
    if name in ("llama", "qwen3", "gemma", "gemma2", "gemma3_text"):
        settings |= {"head_dim": numbers.head_width, "attention_bias": numbers.attention_bias}
    if name == "llama":
        settings["mlp_bias"] = numbers.mlp_bias
    if name in ("qwen2", "qwen3", "gemma2", "gemma3_text"):
        settings["layer_types"] = [
            "sliding_attention" if layer in numbers.window_layers else "full_attention"
            for layer in range(numbers.layers)
        ]
        settings["sliding_window"] = numbers.window or None
    if name in ("qwen2", "qwen3"):
        settings["use_sliding_window"] = bool(numbers.window_layers)
    if name in ("gemma2", "gemma3_text"):
        settings["query_pre_attn_scalar"] = numbers.query_scale or numbers.head_width
        settings["attn_logit_softcapping"] = numbers.attention_cap or None
        settings["final_logit_softcapping"] = numbers.logit_cap or None
    if name == "gemma3_text":
        local = {"rope_type": "default", "rope_theta": numbers.local_rope_theta}
        rope = {"full_attention": rope, "sliding_attention": local}
    if name == "phi3":
        settings["sliding_window"] = numbers.window or None
        original = numbers.rope.get("original_max_position_embeddings", numbers.context)
        settings["original_max_position_embeddings"] = original
    return getattr(transformers, FAMILIES[name].config)(rope_parameters=rope, **settings)


def _rope(numbers: Numbers) -> dict[str, Any]:
    rope: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in numbers.rope.items()
    }
    rope["rope_theta"] = numbers.rope_theta
    if numbers.rope_share != 1.0:
        rope["partial_rotary_factor"] = numbers.rope_share
    original = "original_max_position_embeddings"
    if original in rope:
        rope[original] = int(rope[original])  # a recipe's table holds it as a float
    return rope
