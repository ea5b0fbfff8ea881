"""The families that are tested: their classes in transformers, and what sets them apart.

A family is what ``config.json`` calls ``model_type``. What is not here is refused: a decoder whose
attention is not causal, not packed, or scaled in a way that nobody compared would train and be
wrong without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Family:
    """A tested family.

    Attributes:
        model: the decoder's class in transformers.
        config: the class of its configuration.
        activations: the activation of its MLP as configurations spell it; no other is taken.
        absent: defaults of what its ``config.json`` may leave out, by transformers' names.
        ropes: the kinds of rotary positions that are tested or the same for every pack.
    """

    model: str
    config: str
    activations: tuple[str, ...] = ("silu",)
    absent: Mapping[str, object] = MappingProxyType({})
    ropes: tuple[str, ...] = ("default", "linear", "llama3", "yarn", "longrope")


_GELU: Final = ("gelu_pytorch_tanh", "gelu")
_GEMMA: Final[dict[str, object]] = {
    "tie_word_embeddings": True,
    "head_dim": 256,
    "max_position_embeddings": 8192,
}
_GEMMA2: Final = _GEMMA | {
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "final_logit_softcapping": 30.0,
    "attn_logit_softcapping": 50.0,
}
_GEMMA3: Final = _GEMMA | {
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
}

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "llama": Family(model="LlamaModel", config="LlamaConfig"),
        "qwen2": Family(model="Qwen2Model", config="Qwen2Config"),
        "qwen3": Family(model="Qwen3Model", config="Qwen3Config", absent={"head_dim": 128}),
        "gemma": Family(model="GemmaModel", config="GemmaConfig", activations=_GELU, absent=_GEMMA),
        "gemma2": Family(
            model="Gemma2Model", config="Gemma2Config", activations=_GELU, absent=_GEMMA2
        ),
        "gemma3_text": Family(
            model="Gemma3TextModel",
            config="Gemma3TextConfig",
            activations=_GELU,
            absent=_GEMMA3,
            ropes=("default", "linear"),
        ),
        "phi3": Family(
            model="Phi3Model",
            config="Phi3Config",
            absent={"rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
            ropes=("default", "longrope"),
        ),
    }
)
