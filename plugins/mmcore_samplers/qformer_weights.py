"""Weights of a Q-Former, from BLIP-2's checkpoints or under our own names."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from torch import nn

from mmcore.interfaces import TOKENS, LoadReport, Tensors, WeightsError
from mmcore.kit.weights import Source, fill, open_tensors
from mmcore_samplers.qformer_names import published, purpose

LANGUAGE: Final = "language_projection.weight"
CROSS: Final = "qformer.encoder.layer.0.crossattention.attention.key.weight"


def load_qformer(module: nn.Module, weights: str) -> LoadReport:
    """Fill a ``QFormer`` from a folder of its own, or from a checkpoint of BLIP-2: that of
    ``Blip2ForImageTextRetrieval``, or that of ``Blip2ForConditionalGeneration``.

    What such a checkpoint has not, such as the text tower, or the projection to this LLM, stays as
    it was made, and the report says so; but queries and their layers must be there, and no part may
    be there by half. The checkpoint's projection to its own LLM is left out where that is of
    another width.

    Raises:
        WeightsError: the encoder is not as wide as the checkpoint's; tensors are missing, have
            other shapes, or have no place here.
    """
    with open_tensors(weights) as tensors:
        found = tensors.names()
        theirs = {
            name: published(name) if published(name) in found else name
            for name, _ in module.named_parameters()
        }
        _check_width(module, tensors)
        new = _absent(theirs, tensors)
        if LANGUAGE in theirs and not _fits(module, LANGUAGE, tensors):
            new |= {name for name in theirs if purpose(name) == TOKENS}
        sources = {name: Source((one,)) for name, one in theirs.items() if name not in new}
        used = {one for source in sources.values() for one in source.names}
        elsewhere = [
            one for one in found - used if purpose(one) or one.partition(".")[0] != "qformer"
        ]
        return fill(module, tensors, sources, unused=elsewhere, new=new)


def _absent(theirs: dict[str, str], tensors: Tensors) -> set[str]:
    """Names of ours whose part the files do not have at all."""
    parts: defaultdict[tuple[str | None, str], set[str]] = defaultdict(set)
    for name in theirs:
        of = purpose(name)
        # What compares has parts that are published, and a temperature that is not.
        parts[of, name.partition(".")[0] if of == "contrast" else ""].add(name)
    found = tensors.names()
    return {
        name
        for (of, _), names in parts.items()
        if of is not None and not any(theirs[one] in found for one in names)
        for name in names
    }


def _fits(module: nn.Module, name: str, tensors: Tensors) -> bool:
    return name not in tensors.names() or tensors.shape(name) == tuple(
        module.get_parameter(name).shape
    )


def _check_width(module: nn.Module, tensors: Tensors) -> None:
    """Say what is wrong in one line, where the encoder is another."""
    if CROSS in tensors.names() and len(shape := tensors.shape(CROSS)) == 2:
        here = module.get_parameter(CROSS).shape[1]
        if shape[1] != here:
            raise WeightsError(
                f"weights: {tensors.origin} was trained behind an encoder of width {shape[1]} "
                f"({CROSS} has shape {list(shape)}); the recipe's encoder has width {here}"
            )
