"""Folders as transformers writes them, with weights that make a wrong mask or scale show."""

from __future__ import annotations

import pytest
import torch
import transformers

SIZES = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e6,
    "factor": 4.0,
    "original_max_position_embeddings": 1024,
}
GEMMA = {"head_dim": 20, "tie_word_embeddings": True}

CASES = {
    "llama": ("Llama", {"rope_parameters": LLAMA3}),
    "llama-tied-biased": (
        "Llama",
        {
            "tie_word_embeddings": True,
            "attention_bias": True,
            "mlp_bias": True,
            "head_dim": 20,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "qwen2": ("Qwen2", {"rope_parameters": YARN}),
    "qwen2-windows": (
        "Qwen2",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3", {"head_dim": 20, "tie_word_embeddings": True}),
    "gemma": ("Gemma", {**GEMMA, "num_key_value_heads": 1}),
    "gemma2": (
        "Gemma2",
        {
            **GEMMA,
            "sliding_window": 5,
            "query_pre_attn_scalar": 7,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": (
        "Gemma3",
        {
            **GEMMA,
            "sliding_window": 5,
            "query_pre_attn_scalar": 7,
            "sliding_window_pattern": 3,
            "layer_types": [*["sliding_attention"] * 2, "full_attention", "sliding_attention"],
        },
    ),
    "phi4": (
        "Phi3",
        {
            "tie_word_embeddings": True,
            "original_max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    "phi3-window": ("Phi3", {"sliding_window": 5, "original_max_position_embeddings": 4096}),
    "phi4-longrope": (
        "Phi3",
        {
            "original_max_position_embeddings": 9,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.5, 2.0],
                "long_factor": [2.0, 5.0, 9.0],
            },
        },
    ),
}


@pytest.fixture(params=CASES)
def theirs(request, tmp_path):
    """A model of transformers, and the folder where it was saved."""
    title, settings = CASES[request.param]
    name = "Gemma3TextConfig" if title == "Gemma3" else f"{title}Config"
    config = getattr(transformers, name)(**(SIZES | settings))
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, f"{title}ForCausalLM")(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)
