"""How a part learns by low-rank adapters beside its frozen weights (LoRA)."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from mmcore_registry import doc

ALL_LINEAR: Literal["all-linear"] = "all-linear"
"""Stands for every linear layer of a part but an LLM's output layer."""

ge, gt, lt = attrs.validators.ge, attrs.validators.gt, attrs.validators.lt


def _some(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value == ():
        raise ValueError(f"{attribute.name} names no layer, wanted names of layers or {ALL_LINEAR}")


@attrs.frozen(kw_only=True)
class Lora:
    """Adapters of a part: beside a frozen weight W, the product B·A of two small matrices learns.

    A layer computes ``W x + (alpha / rank) · B A x``; B begins at zero.
    """

    rank: int = attrs.field(default=16, validator=ge(1), metadata=doc("columns of B and rows of A"))
    alpha: float = attrs.field(
        default=32.0,
        validator=gt(0),
        metadata=doc("adapters count alpha / rank times"),
    )
    dropout: float = attrs.field(
        default=0.0,
        validator=[ge(0), lt(1)],
        metadata=doc("share of an adapter's inputs that is left out at random in training"),
    )
    targets: Literal["all-linear"] | tuple[str, ...] = attrs.field(
        default=ALL_LINEAR,
        validator=_some,
        metadata=doc(
            "layers that get adapters, by name (as q_proj, or layers.0.mlp.down_proj); all-linear "
            "means all but an LLM's output layer"
        ),
    )

    @property
    def scale(self) -> float:
        """What B·A is multiplied by."""
        return self.alpha / self.rank
