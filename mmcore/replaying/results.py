"""What is told of a step that was made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mmcore.training.module_norms import ModuleNorm
from mmcore.training.spikes import SampleLoss


class ReplayError(ValueError):
    """The step cannot be made again."""


@attrs.frozen(kw_only=True)
class ReplayedPack:
    """One pack of the step: which process had it, and what its samples lost."""

    rank: int
    lane: int
    tokens: int
    views: int
    samples: Sequence[SampleLoss]


@attrs.frozen(kw_only=True)
class RecordedStep:
    """What the run wrote down of a step, beside what it is now; None where nothing was written."""

    step: int
    loss: float
    recorded: float | None


@attrs.frozen(kw_only=True)
class Replay:
    """A step made again.

    Attributes:
        step, stage, stage_step: which one.
        start: the checkpoint from which it was reached, or the weights that were named to begin
            from; None for the recipe's own.
        ranks: how many processes' random numbers were drawn, one after another.
        before: the steps on the way from there.
        loss, grad_norm: of the step now.
        recorded: what the run wrote down of it, by name.
        sources: mean loss per label of every source.
        packs: in the order in which they were computed.
        modules: in the order of their calls.
    """

    step: int
    stage: str
    stage_step: int
    start: str | None
    ranks: int
    before: Sequence[RecordedStep]
    loss: float
    grad_norm: float
    recorded: Mapping[str, float | None]
    sources: Mapping[str, float]
    packs: Sequence[ReplayedPack]
    modules: Sequence[ModuleNorm]

    @property
    def first_not_finite(self) -> ModuleNorm | None:
        """The module that was first to give something that is not finite."""
        broken = [one for one in self.modules if one.not_finite]
        return min(broken, key=lambda one: one.first_pack) if broken else None
