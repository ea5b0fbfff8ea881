"""An objective says what is learned from a pack, as a sum, so that packing does not change it.

Letters: T packed tokens, E LLM width, L labelled positions.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol

import attrs

from mmcore.interfaces.records import PackedBatch
from mmcore_registry import Spec, doc

if TYPE_CHECKING:
    import torch


class Forward(Protocol):
    """What an objective may ask of the model. Each is one pass through the modules."""

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        """``h_TE``: encode, sample, splice, decode."""

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        """``nll_L``: negative log likelihood of the targets, float32."""


class Objective(Protocol):
    """Counts on the host before any forward; then sums on the device."""

    def count(self, batch: PackedBatch) -> float:
        """How many terms ``loss`` will sum over; from host data alone. The step adds the counts
        of all packs and ranks, and divides the sums by the total."""

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """The summed loss, a float32 scalar that depends on every parameter that learns (with
        weight zero where a pack has nothing to teach)."""


@attrs.frozen(kw_only=True)
class ObjectiveSpec(Spec):
    """Describes an objective of a stage."""

    kind: ClassVar[str] = "objective"
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the token sampler must provide."""
    reads_pairs: ClassVar[bool] = False
    """Whether it learns from ``PackedBatch.pairs``. One that does not must heed
    ``label_weight_L``, which is zero for dispreferred answers."""

    weight: float = attrs.field(
        default=1.0,
        validator=attrs.validators.gt(0),
        metadata=doc("factor of this objective in the total loss"),
    )

    @abstractmethod
    def build(self) -> Objective:
        """The objective."""
