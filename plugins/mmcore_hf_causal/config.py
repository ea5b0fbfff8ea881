"""A model's config.json, read without transformers, in the words of our recipes."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from mmcore.interfaces import WeightsError
from mmcore.kit.weights import locate_file
from mmcore_hf_causal.families import FAMILIES, Family

FILE = "config.json"
Rope = dict[str, str | float | tuple[float, ...]]


@attrs.frozen(kw_only=True)
class Numbers:
    """The numbers of a model, by the keys of the recipe. The defaults are a small model's.

    ``window_layers`` are those, counted from 0, whose tokens see ``window`` positions only; 0 of a
    cap, a window or a query scale means that there is none or that it follows from the widths.
    """

    family: str = "llama"
    width: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 16
    mlp_width: int = 128
    vocabulary: int = 320
    context: int = 32768
    window: int = 0
    window_layers: tuple[int, ...] = ()
    rope_theta: float = 10_000.0
    local_rope_theta: float = 10_000.0
    rope_share: float = 1.0
    rope: Rope = attrs.field(factory=lambda: {"rope_type": "default"})
    query_scale: int = 0
    attention_cap: float = 0.0
    logit_cap: float = 0.0
    attention_bias: bool = False
    mlp_bias: bool = False
    tied: bool = False
    norm_eps: float = 1e-6
    init_std: float = 0.02


SMALL: dict[str, Numbers] = {
    "llama": Numbers(family="llama", rope_theta=500_000.0, norm_eps=1e-5),
    "qwen2": Numbers(family="qwen2", rope_theta=1e6, attention_bias=True),
    "qwen3": Numbers(family="qwen3", rope_theta=1e6, head_width=32, tied=True),
    "gemma": Numbers(family="gemma", head_width=32, tied=True),
    "gemma2": Numbers(
        family="gemma2",
        head_width=32,
        tied=True,
        window=16,
        window_layers=(0,),
        query_scale=24,
        attention_cap=50.0,
        logit_cap=30.0,
    ),
    "gemma3_text": Numbers(
        family="gemma3_text",
        head_width=32,
        tied=True,
        window=16,
        window_layers=(0,),
        query_scale=24,
        rope_theta=1e6,
    ),
    "phi3": Numbers(family="phi3", norm_eps=1e-5, rope_theta=250_000.0),
}
"""A small model of every family, for random weights without a config.json."""


def numbers_of(folder: str) -> Numbers:
    """What the config.json in a folder (or a cached hub id) says.

    Raises:
        WeightsError: the file is missing or no JSON, lacks numbers, is of a family that is not
            tested, or asks for something that is not supported; the message says what.
    """
    path = locate_file(folder, FILE)
    try:
        return _numbers(path, path.stat().st_mtime_ns)
    except WeightsError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError, ZeroDivisionError) as error:
        told = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{str(path)!r} holds values that make no model: {told}") from error


@functools.lru_cache(maxsize=64)
def _numbers(path: Path, _modified: int) -> Numbers:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsError(f"{str(path)!r} is no JSON: {error}") from None
    if not isinstance(raw, dict):
        raise WeightsError(f"{str(path)!r} is no table of settings")
    name = str(raw.get("model_type"))
    if name not in FAMILIES:
        raise WeightsError(
            f"{str(path)!r} is of the family {name!r}, which is not tested here and therefore "
            f"refused; tested are {', '.join(FAMILIES)}"
        )
    family = FAMILIES[name]
    values = {**family.absent, **{key: value for key, value in raw.items() if value is not None}}
    # A cap of null is no cap: unlike other numbers, it may be switched off.
    values |= {key: 0 for key in _CAPS if key in raw and raw[key] is None}
    faults = [*_missing(values), *_unsupported(values, family)]
    if faults:
        raise WeightsError(f"{str(path)!r} cannot be used: {'; '.join(faults)}")
    return _translated(name, values)


_CAPS = ("final_logit_softcapping", "attn_logit_softcapping")
_NEEDED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)


def _missing(values: Mapping[str, Any]) -> list[str]:
    return [f"it lacks {key}" for key in _NEEDED if not isinstance(values.get(key), int)]


def _unsupported(values: Mapping[str, Any], family: Family) -> list[str]:
    faults = []
    activation = values.get("hidden_activation") or values.get("hidden_act")
    if activation not in (None, *family.activations):
        wanted = " or ".join(map(repr, family.activations))
        faults.append(f"its activation is {activation!r}, tested is {wanted}")
    if values.get("use_bidirectional_attention"):
        faults.append("its attention is not causal (use_bidirectional_attention)")
    if "quantization_config" in values:
        faults.append("its weights are quantized, which cannot be trained")
    kind = _rope(values).get("rope_type", "default")
    if kind not in family.ropes:
        wanted = ", ".join(map(repr, family.ropes))
        faults.append(
            f"its rotary positions are {kind!r}, tested are {wanted} ('dynamic' ones would let "
            "one sequence of a pack change the others)"
        )
    return faults


def _translated(name: str, values: Mapping[str, Any]) -> Numbers:
    small = SMALL[name]
    width, heads = values["hidden_size"], values["num_attention_heads"]
    rope = _rope(values)
    theta = rope.pop("rope_theta", values.get("rope_theta", 10_000.0))
    share = rope.pop("partial_rotary_factor", values.get("partial_rotary_factor", 1.0))
    local = (values.get("rope_parameters") or {}).get("sliding_attention") or {}
    window_layers = _window_layers(name, values)
    return Numbers(
        family=name,
        width=width,
        layers=values["num_hidden_layers"],
        heads=heads,
        kv_heads=values.get("num_key_value_heads", heads),
        head_width=values.get("head_dim", width // heads),
        mlp_width=values["intermediate_size"],
        vocabulary=values["vocab_size"],
        context=values["max_position_embeddings"],
        window=values["sliding_window"] if window_layers else 0,
        window_layers=window_layers,
        rope_theta=float(theta),
        local_rope_theta=float(
            local.get("rope_theta", values.get("rope_local_base_freq", 10_000.0))
        ),
        rope_share=float(share),
        rope=rope,
        query_scale=int(values.get("query_pre_attn_scalar", 0)),
        attention_cap=float(values.get("attn_logit_softcapping", 0)),
        logit_cap=float(values.get("final_logit_softcapping", 0)),
        attention_bias=bool(values.get("attention_bias", small.attention_bias)),
        mlp_bias=bool(values.get("mlp_bias", False)),
        tied=bool(values.get("tie_word_embeddings", False)),
        norm_eps=float(values.get("rms_norm_eps", 1e-6)),
        init_std=float(values.get("initializer_range", 0.02)),
    )


def _rope(values: Mapping[str, Any]) -> Rope:
    """How positions are stretched, in the spelling of today, whichever the file has."""
    rope: dict[str, Any] = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if "full_attention" in rope:
        rope = rope["full_attention"] or {}
    rope = {key: value for key, value in rope.items() if value is not None}
    kind = rope.pop("type", None)
    kind = rope.pop("rope_type", None) or kind or "default"
    if kind == "su" or (kind == "yarn" and values["model_type"] == "phi3"):
        kind = "longrope"  # what the first Phi-3 called it
    stretched = {
        key: tuple(map(float, value)) if isinstance(value, list) else value
        for key, value in rope.items()
    }
    if kind in ("llama3", "yarn", "longrope") and "original_max_position_embeddings" in values:
        stretched["original_max_position_embeddings"] = values["original_max_position_embeddings"]
    return {"rope_type": kind, **stretched}


def _window_layers(name: str, values: Mapping[str, Any]) -> tuple[int, ...]:
    """The layers with a window, by the rules of transformers' configurations."""
    layers = values["num_hidden_layers"]
    if not values.get("sliding_window"):
        return ()
    if name == "phi3":
        return tuple(range(layers))
    if name in ("qwen2", "qwen3") and not values.get("use_sliding_window"):
        return ()
    if "layer_types" in values:
        kinds = values["layer_types"]
        return tuple(n for n, kind in enumerate(kinds) if kind == "sliding_attention")
    if name == "gemma2":
        return tuple(range(0, layers, 2))
    if name == "gemma3_text":
        pattern = values.get("sliding_window_pattern", 6)
        return tuple(n for n in range(layers) if (n + 1) % pattern)
    if name in ("qwen2", "qwen3"):
        return tuple(range(min(values.get("max_window_layers", 28), layers), layers))
    return ()
