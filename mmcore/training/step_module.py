"""One pack's forward as a module: the model, asked by the objectives, gives a scalar to descend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from mmcore.interfaces import Forward, Objective, PackedBatch
from mmcore.training.frozen_models import FrozenModels
from mmcore.training.segment_losses import SegmentLosses


class TrainingStep(nn.Module):
    """What an engine wraps: ``(batch, divisors) -> (scalar, sums)``.

    Its parameters go by the model's own names, without a prefix: engines and checkpoints call a
    weight by the name that the model gives it.
    """

    def __init__(
        self,
        model: nn.Module,
        objectives: Sequence[Objective],
        weights: Sequence[float],
        frozen: Mapping[str, nn.Module] = MappingProxyType({}),
    ) -> None:
        """``model`` satisfies ``Forward``; objective ``i`` is multiplied by ``weights[i]``.
        ``frozen`` are the models that objectives name besides; they are none of the step's
        modules, so nobody trains, shards or saves them."""
        super().__init__()
        if len(objectives) != len(weights) or not objectives:
            raise ValueError(f"{len(objectives)} objectives and {len(weights)} weights: wanted 1+")
        self.model = model
        self._objectives = tuple(objectives)
        self._weights = tuple(weights)
        self.segment_losses = SegmentLosses()
        self._frozen = FrozenModels(model, frozen)

    def forward(
        self, batch: PackedBatch, divisors: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The scalar ``sum_i weight_i * loss_i / divisors[i]``, and the detached undivided
        ``loss_i``, shape (objectives,)."""
        heard = _Overheard(_as_forward(self.model), batch, self.segment_losses, self._frozen)
        losses = [objective.loss(heard, batch) for objective in self._objectives]
        terms = zip(losses, self._weights, divisors, strict=True)
        total = torch.stack([loss * (weight / divisor) for loss, weight, divisor in terms]).sum()
        return total, torch.stack([loss.detach() for loss in losses])

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        if not recurse:  # ZeRO-3 asks every module for what it holds itself: here, nothing
            return super().named_parameters(prefix, recurse, remove_duplicate)
        return self.model.named_parameters(prefix, recurse, remove_duplicate)


class _Overheard:
    """The model as the objectives see it, with somebody listening to what it says of a pack's
    own targets; once, whichever objective asks first."""

    def __init__(
        self,
        forward: Forward,
        batch: PackedBatch,
        listener: SegmentLosses,
        frozen: FrozenModels,
    ) -> None:
        self._forward, self._batch, self._listener = forward, batch, listener
        self.frozen, self.divergence = frozen.asked, frozen.divergence
        self._told = False

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        nll_L = self._forward.nll(h_LE, targets_L)
        if targets_L is self._batch.targets_L and not self._told:
            self._told = True
            self._listener.hear(self._batch, nll_L)
        return nll_L

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forward, name)


def _as_forward(model: nn.Module) -> Forward:
    return model  # type: ignore[return-value]  # nn.Module types its attributes loosely
