"""An objective says what is learned from a pack, as a sum, so that packing does not change it.

Letters: T packed tokens, E LLM width, L labelled positions, B pairs of a picture and its text, W
tokens of a text.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import attrs

from mmcore.interfaces.parts import PARTS
from mmcore.interfaces.records import PackedBatch
from mmcore_registry import Spec, doc

if TYPE_CHECKING:
    import torch

    from mmcore.interfaces.llm import Teacher


ADAPTERS = "adapters"
"""Names, as the model that does not learn, the one that does without its adapters."""

UNTRAINED = "untrained"
"""Names, as the model that does not learn, one of the same parts with random weights: what a
rehearsal has in a folder's place."""


class Forward(Protocol):
    """What an objective may ask of the model. Each is one pass through the modules."""

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        """``h_TE``: encode, sample, splice, decode."""

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        """``nll_L``: negative log likelihood of the targets, float32."""

    def frozen(self, name: str) -> AbstractContextManager[Forward]:
        """The model that does not learn, within the context, without gradients or dropout.

        Args:
            name: as ``ObjectiveSpec.frozen_model`` has it.
        """

    def divergence(self, h_LE: torch.Tensor, teacher: Teacher, name: str) -> torch.Tensor:
        """``kl_L``: how far the predictions are from the teacher's, ``KL(teacher || model)`` over
        the vocabulary, float32.

        Args:
            h_LE: of the model that learns.
            teacher: hidden states of the model that does not; its output layer is filled in.
            name: of that model.
        """

    def provided(
        self,
        wanted: str,
        batch: PackedBatch,
        view_B: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """What the token sampler provides beyond tokens; see ``PairedSampler``. The encoder is
        entered once for a pack, whatever is asked of it."""

    def tell(self, name: str, total: torch.Tensor) -> None:
        """Report a number beside the loss, as ``OBJECTIVE/name``: what was told of all packs of all
        ranks is added up, and divided by the objective's terms as its loss is.

        Args:
            name: an objective tells the same names of every pack.
            total: a scalar on the device; nobody waits for it.
        """


class Objective(Protocol):
    """Counts on the host before any forward; then sums on the device."""

    def count(self, batch: PackedBatch) -> float:
        """How many terms ``loss`` will sum over; from host data alone. The step adds the counts
        of all packs and ranks, and divides the sums by the total."""

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """The summed loss, a float32 scalar that depends on every parameter that learns (with
        weight zero where a pack has nothing to teach)."""


@runtime_checkable
class ComparingObjective(Objective, Protocol):
    """An objective whose spec says ``scope = "step"``: it compares the samples of a whole step, of
    all packs and ranks, so that its negatives do not depend on packing.

    Before the backward passes of a step, every pack is looked at without gradients (``survey``);
    what was seen of all packs of all ranks is compared (``compare``); then ``loss`` goes through
    every pack again, with what the comparison says of it in the pack's ``aux``, and its gradient is
    that of the whole comparison. A pack of which the comparison says nothing has nothing of it in
    its ``aux``: one that counts no terms, and one that is only tried for its size; ``loss`` enters
    the model all the same.
    """

    def survey(self, forward: Forward, batch: PackedBatch) -> Mapping[str, torch.Tensor]:
        """What of a pack is compared: tensors by name, a row for every sample that is; the same
        names for every pack. What two objectives of a stage give under one name must be the same
        thing: it travels once."""

    def compare(
        self, surveyed: Sequence[Mapping[str, torch.Tensor]], mine: Sequence[int], seed: int
    ) -> Sequence[Mapping[str, torch.Tensor]]:
        """What the comparison says of each of this rank's packs, for its ``aux``.

        Args:
            surveyed: of every pack of the step that counts any terms, in the order of the data,
                which does not depend on the number of ranks.
            mine: which of them are this rank's.
            seed: of the step; the same on every rank.
        """


@attrs.frozen(kw_only=True)
class ObjectiveSpec(Spec):
    """Describes an objective of a stage."""

    kind: ClassVar[str] = "objective"
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the token sampler must provide. Where this is anything, the packs of the stage carry the
    texts of their pictures (``interfaces.aux``), and the tiler must make one view of a picture."""
    only_looks: ClassVar[frozenset[str]] = frozenset()
    """Of its needs, those that its loss has no gradient for."""
    scope: ClassVar[Literal["pack", "step"]] = "pack"
    """Over what it is computed: "step" makes it a ``ComparingObjective``."""
    reaches: ClassVar[frozenset[str]] = frozenset(PARTS)
    """Parts of the model that its loss depends on: a stage cannot train a part that none of its
    objectives reaches."""
    reads_pairs: ClassVar[bool] = False
    """Whether it learns from ``PackedBatch.pairs``. One that does not must heed
    ``label_weight_L``, which is zero for dispreferred answers."""
    frozen_key: ClassVar[str] = ""
    """Which of its keys names a model that does not learn; empty for none."""

    weight: float = attrs.field(
        default=1.0,
        validator=attrs.validators.gt(0),
        metadata=doc("factor of this objective in the total loss"),
    )

    @property
    def frozen_model(self) -> str:
        """The model that is asked beside the one that learns: nothing, ``ADAPTERS``, or a folder of
        a model, which the stage loads."""
        return str(getattr(self, self.frozen_key)) if self.frozen_key else ""

    @property
    def reads_references(self) -> bool:
        """Whether it needs the log-probabilities that prepared pairs carry."""
        return False

    @abstractmethod
    def build(self) -> Objective:
        """The objective."""
