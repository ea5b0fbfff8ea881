"""Weights of the samplers, under our names or under those of the checkpoints they come from."""

from __future__ import annotations

from torch import nn

from mmcore.interfaces import LoadReport, Tensors
from mmcore.kit.weights import Source, fill, open_tensors

XGEN_MM = ("vlm.vision_tokenizer.", "vision_tokenizer.")
"""Where the released checkpoints and the official training code keep the perceiver; below, the
names are ours."""

LLAVA = ("model.mm_projector.", "mm_projector.")
"""Where LLaVA 1.5 keeps its ``mlp2x_gelu``; below, a name is the place among the layers."""

INTERNVL = ("mlp1.",)
"""Where the released InternVL checkpoints keep their projector; below, a name is the place among
the layers."""


def load_perceiver(module: nn.Module, weights: str) -> LoadReport:
    """Fill a ``Perceiver`` from a folder of its own, or from a whole xGen-MM checkpoint.

    The projection of instructions, which the released models do not have, stays as it was made
    where the files lack it.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """
    return _load(module, weights, XGEN_MM, ours="", may_lack=("text_projection.weight",))


def load_mlp(module: nn.Module, weights: str) -> LoadReport:
    """Fill an ``MLP`` from a folder of its own, or from a LLaVA checkpoint.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """
    return _load(module, weights, LLAVA, ours="layers.")


def load_pixel_shuffle(module: nn.Module, weights: str) -> LoadReport:
    """Fill a ``PixelShuffle`` from a folder of its own, or from an InternVL checkpoint.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """
    return _load(module, weights, INTERNVL, ours="layers.")


def _load(
    module: nn.Module,
    weights: str,
    prefixes: tuple[str, ...],
    *,
    ours: str,
    may_lack: tuple[str, ...] = (),
) -> LoadReport:
    with open_tensors(weights) as tensors:
        prefix = _prefix(tensors, prefixes)
        removed = "" if prefix is None else ours
        theirs = {
            name: (prefix or "") + name.removeprefix(removed)
            for name, _ in module.named_parameters()
        }
        found = tensors.names()
        new = [name for name in may_lack if name in theirs and theirs[name] not in found]
        sources = {name: Source((one,)) for name, one in theirs.items() if name not in new}
        others = () if prefix is None else _outside(tensors, prefix)
        return fill(module, tensors, sources, unused=others, new=new)


def _prefix(tensors: Tensors, prefixes: tuple[str, ...]) -> str | None:
    """The first prefix that some tensor has; None: the names are ours."""
    for prefix in prefixes:
        if any(name.startswith(prefix) for name in tensors.names()):
            return prefix
    return None


def _outside(tensors: Tensors, prefix: str) -> list[str]:
    """The other parts of a whole checkpoint."""
    return [name for name in tensors.names() if not name.startswith(prefix)]
