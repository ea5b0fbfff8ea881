"""Weights of SigLIP's vision transformer, as transformers or as timm names them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from mmcore.interfaces import LoadReport, Renaming, Tensors, WeightsError
from mmcore.kit.weights import Source, fill, open_tensors

# Our names below `trunk.` are timm's; on the right, those of transformers below `vision_model.`.
HF_NAMES = {
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm": "post_layernorm",
    "attn_pool.proj": "head.attention.out_proj",
    "attn_pool.norm": "head.layernorm",
    "attn_pool.mlp": "head.mlp",
}
HF_BLOCK_NAMES = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
TEXT_SIDE = ("text_model.", "text.", "logit_scale", "logit_bias")
PREFIXES = ("vision_model.", "visual.trunk.", "trunk.", "")


def load_siglip(module: nn.Module, weights: str) -> LoadReport:
    """Fill a ``Siglip`` from a folder or a cached hub id, from transformers' or timm's names.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """
    ours = [name.removeprefix("trunk.") for name, _ in module.named_parameters()]
    with open_tensors(weights) as tensors:
        prefix, from_timm = _dialect(tensors)
        sources = {
            f"trunk.{name}": _at(prefix, Source((name,)) if from_timm else hf_source(name))
            for name in ours
        }
        computed = f"{prefix}embeddings.position_ids"
        unused = [name for name in tensors.names() if name.startswith(TEXT_SIDE)]
        return fill(module, tensors, sources, unused=[*unused, computed])


def hf_source(name: str) -> Source:
    """Where transformers keeps the parameter that timm calls ``name``."""
    stem, _, kind = name.rpartition(".")
    if name == "pos_embed":
        return Source(("embeddings.position_embedding.weight",), lambda one: one[0][None])
    if name == "attn_pool.latent":
        return Source(("head.probe",))
    if stem in ("attn_pool.q", "attn_pool.kv"):
        return _pool_source(stem, kind)
    if block := re.fullmatch(r"blocks\.(\d+)\.(.+)", stem):
        layer, part = f"encoder.layers.{block[1]}", block[2]
        if part == "attn.qkv":
            return Source(tuple(f"{layer}.self_attn.{x}_proj.{kind}" for x in "qkv"), torch.cat)
        return Source((f"{layer}.{HF_BLOCK_NAMES[part]}.{kind}",))
    for mine, theirs in HF_NAMES.items():
        if stem == mine or stem.startswith(f"{mine}."):
            return Source((f"{theirs}{stem.removeprefix(mine)}.{kind}",))
    raise AssertionError(f"no name for {name}")


def published(names: Sequence[str]) -> list[Renaming]:
    """How a ``Siglip``'s parameters correspond to transformers' below ``vision_model.``."""
    renamings = []
    for name in names:
        bare = name.removeprefix("trunk.")
        stem, _, kind = bare.rpartition(".")
        theirs = hf_source(bare).names
        if bare == "pos_embed":
            renamings.append(Renaming((name,), theirs, _add_axis, _drop_axis))
        elif stem.endswith(".attn.qkv"):
            renamings.append(Renaming((name,), theirs, _stacked, _thirds))
        elif stem == "attn_pool.q":
            pair = (name, f"trunk.attn_pool.kv.{kind}")
            renamings.append(Renaming(pair, theirs, _first_and_rest, _stacked))
        elif stem != "attn_pool.kv":
            renamings.append(Renaming((name,), theirs))
    return renamings


def _add_axis(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensors[0][None]]


def _drop_axis(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [tensors[0][0]]


def _stacked(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return [torch.cat(tensors)]


def _thirds(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return list(tensors[0].chunk(3))


def _first_and_rest(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    first = tensors[0].shape[0] // 3
    return [tensors[0][:first], tensors[0][first:]]


def _pool_source(stem: str, kind: str) -> Source:
    """The pooling head's queries are the first third of one matrix, keys and values the rest."""
    name = f"head.attention.in_proj_{kind}"
    if stem == "attn_pool.q":
        return Source((name,), lambda one: one[0].chunk(3)[0])
    return Source((name,), lambda one: torch.cat(one[0].chunk(3)[1:]))


def _at(prefix: str, source: Source) -> Source:
    return Source(tuple(prefix + name for name in source.names), source.join)


def _dialect(tensors: Tensors) -> tuple[str, bool]:
    names = tensors.names()
    for prefix in PREFIXES:
        if f"{prefix}embeddings.patch_embedding.weight" in names:
            return prefix, False
        if f"{prefix}patch_embed.proj.weight" in names:
            return prefix, True
    raise WeightsError(
        f"weights: {tensors.origin} holds no SigLIP: neither 'embeddings.patch_embedding.weight' "
        f"nor 'patch_embed.proj.weight' is among its {len(names)} tensors"
    )
