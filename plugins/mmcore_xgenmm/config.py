"""XGenMMConfig and a checkpoint's shapes as a recipe's tables, and such tables as XGenMMConfig."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from mmcore.interfaces import Tables, Tensors, WeightsError
from mmcore_registry import nearest
from mmcore_xgenmm.weights import ADDED, EMBEDDING, HEAD_BIAS, PREFIXES

SYSTEM_PROMPT = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
"""What the instruct models were trained to be told first, in every conversation."""

ENCODERS = {"google/siglip-so400m-patch14-384": {"heads": 16, "image_size": 384}}
"""What the shapes of an encoder do not tell, by the ``model_name`` of the config."""

SAMPLER_HEADS = 16
"""The official code knows no other number; a head's width follows from the shapes."""

DEFAULT_GRIDS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
LAYERS = {"encoder": "encoder.layers.", "token_sampler": "layers.", "llm": "model.layers."}
"""What stands before the number of a layer."""

PATCHES = "embeddings.patch_embedding.weight"
POSITIONS = "embeddings.position_embedding.weight"
ENCODER_MLP = "encoder.layers.0.mlp.fc1.weight"
LATENTS = "latents"
QUERY = "layers.0.0.to_q.weight"
SAMPLER_MLP = "layers.0.1.1.weight"
QKV = "model.layers.0.self_attn.qkv_proj.weight"
LLM_MLP = "model.layers.0.mlp.gate_up_proj.weight"

SIZES = {
    "encoder": (PATCHES, POSITIONS, ENCODER_MLP),
    "token_sampler": (LATENTS, QUERY, SAMPLER_MLP),
    "llm": (EMBEDDING, ADDED[EMBEDDING], QKV, LLM_MLP),
}
"""The tensors whose shapes say how large a part is."""


@attrs.frozen
class Shapes:
    """The shapes of a checkpoint, by part and publisher's name.

    Attributes:
        tensors: the checkpoint.
        prefix: before every name.
    """

    tensors: Tensors
    prefix: str

    def of(self, part: str, name: str) -> tuple[int, ...]:
        """
        Raises:
            WeightsError: there is no such tensor.
        """
        self.require({part: (name,)})
        return self.tensors.shape(self._full(part, name))

    def has(self, part: str, name: str) -> bool:
        return self._full(part, name) in self.tensors.names()

    def require(self, names: Mapping[str, Iterable[str]]) -> None:
        """
        Raises:
            WeightsError: a tensor is missing; names them all, by the nearest that is there.
        """
        found = sorted(self.tensors.names())
        missing = [
            full
            for part, wanted in names.items()
            for name in wanted
            if (full := self._full(part, name)) not in found
        ]
        if not missing:
            return
        lines = [
            f"weights: {self.tensors.origin} has no tensors of these names, from which the "
            "model's sizes would be known"
        ]
        for full in missing:
            close = nearest(full, found)
            hint = f"; the nearest it has is {close}" if close else ""
            lines.append(f"  missing: {full}{hint}")
        raise WeightsError("\n".join(lines))

    def layers(self, part: str) -> int:
        """How many there are: the highest number that any tensor has, and one."""
        before = self._full(part, LAYERS[part])
        numbers = [
            int(name.removeprefix(before).partition(".")[0])
            for name in self.tensors.names()
            if name.startswith(before) and name.removeprefix(before)[:1].isdecimal()
        ]
        return 1 + max(numbers, default=0)

    def _full(self, part: str, name: str) -> str:
        return f"{self.prefix}{PREFIXES[part]}{name}"


def tables(config: Mapping[str, Any], shapes: Shapes, ids: int) -> Tables:
    """The model of a released folder in a recipe's words.

    Args:
        config: its config.json.
        shapes: of its tensors.
        ids: rows of our table of embeddings.

    Raises:
        WeightsError: something is neither in the config nor in the shapes.
    """
    vision = config.get("vision_encoder_config") or {}
    encoder = _encoder(vision, shapes)
    is_anyres = vision.get("image_aspect_ratio") == "anyres"
    return {
        "encoder": encoder,
        "token_sampler": _sampler(config.get("vision_tokenizer_config") or {}, shapes),
        "llm": {
            **_llm(config.get("text_config") or {}, shapes),
            **llm_keys(shapes, ids),
            # The base model captions; only the instruct models talk, and are told how.
            "system_prompt": SYSTEM_PROMPT if is_anyres else "",
        },
        "tiler": _tiler(vision, encoder["image_size"]) if is_anyres else {"use": "single"},
    }


def llm_keys(shapes: Shapes, ids: int) -> dict[str, Any]:
    """What sets the LLM of an imported checkpoint apart from a new one."""
    return {"vocabulary": ids, "head_bias": shapes.has("llm", HEAD_BIAS)}


def _encoder(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    width, _, patch, _ = shapes.of("encoder", PATCHES)
    patches, _ = shapes.of("encoder", POSITIONS)
    side = math.isqrt(patches)
    if side * side != patches:
        raise WeightsError(f"weights: the encoder's table has {patches} positions, wanted a square")
    known = ENCODERS.get(config.get("model_name", ""), {})
    heads = config.get("num_attention_heads", known.get("heads"))
    if heads is None:
        raise WeightsError(
            f"weights: config.json does not say how many heads the encoder "
            f"{config.get('model_name')!r} has; give a recipe that does with --recipe"
        )
    image = config.get("image_size", known.get("image_size", side * patch))
    return {
        "use": "siglip",
        "width": width,
        "depth": shapes.layers("encoder"),
        "heads": heads,
        "mlp_width": shapes.of("encoder", ENCODER_MLP)[0],
        "patch_size": patch,
        # Unless the table says otherwise: the pixels that no whole patch reaches count too.
        "image_size": image if image // patch == side else side * patch,
    }


def _sampler(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    queries, width = shapes.of("token_sampler", LATENTS)
    inner = shapes.of("token_sampler", QUERY)[0]
    heads = config.get("heads", SAMPLER_HEADS)
    if inner % heads:
        raise WeightsError(f"weights: {heads} heads do not divide the sampler's width {inner}")
    return {
        "use": "perceiver",
        "queries": queries,
        "depth": shapes.layers("token_sampler"),
        "heads": heads,
        "head_dim": inner // heads,
        "ff_mult": shapes.of("token_sampler", SAMPLER_MLP)[0] // width,
    }


def _llm(config: Mapping[str, Any], shapes: Shapes) -> dict[str, Any]:
    if config.get("model_type", "phi3") != "phi3":
        raise WeightsError(f"weights: the LLM is a {config['model_type']!r}, wanted 'phi3'")
    if config.get("rope_scaling"):
        raise WeightsError("weights: the LLM scales its positions (rope_scaling), wanted one of 4k")
    width = shapes.of("llm", EMBEDDING)[1]
    heads = config.get("num_attention_heads", 32)
    if width % heads:
        raise WeightsError(f"weights: {heads} heads do not divide the LLM's width {width}")
    rows = shapes.of("llm", QKV)[0]
    context = config.get("max_position_embeddings", 4096)
    return {
        "use": "phi3",
        "width": width,
        "layers": shapes.layers("llm"),
        "heads": heads,
        "kv_heads": (rows * heads // width - heads) // 2,
        "mlp_width": shapes.of("llm", LLM_MLP)[0] // 2,
        "context": context,
        "window": config.get("sliding_window") or context,
        "rope_theta": float(config.get("rope_theta", 10_000.0)),
        "norm_eps": float(config.get("rms_norm_eps", 1e-5)),
        "init_std": float(config.get("initializer_range", 0.02)),
    }


def _tiler(config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Grids are canvases of [width, height] in pixels there, of [columns, rows] here."""
    canvases = config.get("anyres_grids")
    if canvases is None:
        grids = [list(one) for one in DEFAULT_GRIDS]
    else:
        odd = [one for one in canvases if one[0] % size or one[1] % size]
        if odd:
            raise WeightsError(
                f"weights: config.json has anyres_grids {odd}, wanted multiples of {size} pixels"
            )
        grids = [[width // size, height // size] for width, height in canvases]
    return {"use": "anyres", "grids": grids, "merge": "raster-bands"}


def written(tables: Tables, first_added: int, large: int) -> dict[str, Any]:
    """The config of a model that was not imported.

    What the official config takes for granted (heads of encoder and sampler) is written too.
    """
    encoder, sampler, llm = tables["encoder"], tables["token_sampler"], tables["llm"]
    grids = tables["tiler"].get("grids")
    aspect = "none" if grids is None else "anyres"
    size = encoder["image_size"]
    return {
        "architectures": ["XGenMMModelForConditionalGeneration"],
        "model_type": "xgenmm",
        "torch_dtype": "float32",
        "vision_encoder_config": {
            "model_name": "google/siglip-so400m-patch14-384",
            "image_aspect_ratio": aspect,
            "anyres_patch_sampling": grids is not None,
            "anyres_grids": grids and [[cols * size, rows * size] for cols, rows in grids],
            "num_attention_heads": encoder["heads"],
            "image_size": size,
        },
        "vision_tokenizer_config": {
            "vis_feature_dim": encoder["width"],
            "lang_embedding_dim": llm["width"],
            "num_vis_tokens": sampler["queries"],
            "image_aspect_ratio": aspect,
            "heads": sampler["heads"],
            "dim_head": sampler["head_dim"],
        },
        "text_config": {
            "model_type": "phi3",
            "initial_tokenizer_len": first_added,
            "vocab_size": large,
            "hidden_size": llm["width"],
            "num_hidden_layers": llm["layers"],
            "num_attention_heads": llm["heads"],
            "num_key_value_heads": llm["kv_heads"],
            "intermediate_size": llm["mlp_width"],
            "max_position_embeddings": llm["context"],
            "sliding_window": llm["window"],
            "rope_theta": llm["rope_theta"],
            "rms_norm_eps": llm["norm_eps"],
            "initializer_range": llm["init_std"],
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        },
    }
