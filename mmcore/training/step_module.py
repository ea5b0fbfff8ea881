"""One pack's forward as a module: the model, asked by the objectives, gives a scalar to descend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import torch
from torch import nn

from mmcore.interfaces import ComparingObjective, Forward, Objective, PackedBatch
from mmcore.training.frozen_models import FrozenModels
from mmcore.training.pack_forward import PackForward
from mmcore.training.segment_losses import SegmentLosses
from mmcore.training.told import Told


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
        *,
        one_look: bool = False,
    ) -> None:
        """Args:
        model: satisfies ``Forward``, but for ``tell``, ``frozen`` and ``divergence``.
        objectives, weights: objective ``i`` is multiplied by ``weights[i]``.
        frozen: the models that objectives name besides; they are none of the step's modules, so
            nobody trains, shards or saves them.
        one_look: the model's features of a pack are made once, for all objectives together.
        """
        super().__init__()
        if len(objectives) != len(weights) or not objectives:
            raise ValueError(f"{len(objectives)} objectives and {len(weights)} weights: wanted 1+")
        self.model = model
        self._objectives = tuple(objectives)
        self._weights = tuple(weights)
        self._one_look = one_look
        self._surveyed: list[Mapping[str, torch.Tensor]] | None = None
        self.segment_losses = SegmentLosses()
        self.told = Told()
        self._frozen = FrozenModels(model, frozen)

    def forward(
        self, batch: PackedBatch, divisors: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The scalar ``sum_i weight_i * loss_i / divisors[i]``, and the detached undivided
        ``loss_i``, shape (objectives,). While ``surveying``, all zero."""
        if self._surveyed is not None:
            self._surveyed.append(self._survey(batch))
            nothing = torch.zeros(len(self._objectives), device=batch.input_ids_T.device)
            return nothing.sum(), nothing
        heard = self._forward(batch, self.segment_losses)
        losses = []
        for heard.asking, objective in enumerate(self._objectives):
            losses.append(objective.loss(heard, batch))
        terms = zip(losses, self._weights, divisors, strict=True)
        total = torch.stack([loss * (weight / divisor) for loss, weight, divisor in terms]).sum()
        return total, torch.stack([loss.detach() for loss in losses])

    @property
    def compares(self) -> bool:
        """Whether any of its objectives compares the samples of a step."""
        return any(isinstance(one, ComparingObjective) for one in self._objectives)

    @contextmanager
    def surveying(self) -> Iterator[list[Mapping[str, torch.Tensor]]]:
        """Within, a pack's forward is its survey by the objectives that compare; what was seen of
        every pack is appended to the list."""
        self._surveyed = []
        try:
            yield self._surveyed
        finally:
            self._surveyed = None

    def _survey(self, batch: PackedBatch) -> Mapping[str, torch.Tensor]:
        heard = self._forward(batch, SegmentLosses())
        seen: dict[str, torch.Tensor] = {}
        for objective in self._objectives:
            if isinstance(objective, ComparingObjective):
                seen = {**objective.survey(heard, batch), **seen}
        return {name: tensor.detach() for name, tensor in seen.items()}

    def _forward(self, batch: PackedBatch, listener: SegmentLosses) -> PackForward:
        model = _as_forward(self.model)
        return PackForward(model, batch, listener, self.told, self._frozen, one_look=self._one_look)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        if not recurse:  # ZeRO-3 asks every module for what it holds itself: here, nothing
            return super().named_parameters(prefix, recurse, remove_duplicate)
        return self.model.named_parameters(prefix, recurse, remove_duplicate)


def _as_forward(model: nn.Module) -> Forward:
    return model  # type: ignore[return-value]  # nn.Module types its attributes loosely
