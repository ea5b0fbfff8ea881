"""An optimizer spec: the update rule, its learning rate and the schedule over a stage's budget."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from mmcore.interfaces.engine import ParameterGroup
from mmcore_registry import Spec, doc, one_of

if TYPE_CHECKING:
    from torch.optim import Optimizer

ge, gt, le = attrs.validators.ge, attrs.validators.gt, attrs.validators.le


@attrs.frozen(kw_only=True)
class OptimizerSpec(Spec):
    """Describes an update rule. Keys that every rule has are here."""

    kind: ClassVar[str] = "optimizer"

    lr: float = attrs.field(validator=gt(0), metadata=doc("highest learning rate"))
    warmup_steps: int = attrs.field(
        default=0, validator=ge(0), metadata=doc("steps of linear rise from 0", unit="steps")
    )
    schedule: Literal["cosine", "linear", "constant"] = attrs.field(
        default="cosine",
        validator=one_of(["cosine", "linear", "constant"]),
        metadata=doc("how the rate falls after the warm-up, over the stage's own budget"),
    )
    final_lr_ratio: float = attrs.field(
        default=0.0,
        validator=[ge(0), le(1)],
        metadata=doc("the rate at the end of the budget, as a share of the highest"),
    )
    weight_decay: float = attrs.field(
        default=0.0,
        validator=ge(0),
        metadata=doc("decoupled decay of matrices; norms, biases, embeddings, latents have none"),
    )
    clip_norm: float = attrs.field(
        default=1.0,
        validator=gt(0),
        metadata=doc("largest norm of the whole gradient; inf switches clipping off"),
    )

    @property
    @abstractmethod
    def moments(self) -> int:
        """How many tensors like it are kept of every parameter, such as running means."""

    @abstractmethod
    def build(self, groups: Sequence[ParameterGroup]) -> Optimizer:
        """A torch optimizer over these groups, each with its own ``lr`` and ``weight_decay``."""

    def multiplier(self, step: int, progress: float) -> float:
        """Share of ``lr`` at a step (from 0), with ``progress`` (0..1) of the budget behind it."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        left = 1.0 - min(max(progress, 0.0), 1.0)
        match self.schedule:
            case "cosine":
                fall = 0.5 * (1.0 - math.cos(math.pi * left))
            case "linear":
                fall = left
            case "constant":
                return 1.0
        return self.final_lr_ratio + (1.0 - self.final_lr_ratio) * fall
