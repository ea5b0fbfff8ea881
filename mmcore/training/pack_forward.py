"""The model as the objectives see it while they look at one pack: what was made once is kept."""

from __future__ import annotations

from typing import Any

import torch

from mmcore.interfaces import Forward, PackedBatch
from mmcore.training.frozen_models import FrozenModels
from mmcore.training.segment_losses import SegmentLosses
from mmcore.training.told import Told


class PackForward:
    """The model, with somebody listening to what it says of a pack's own targets (once, whichever
    objective asks first) and to what objectives tell.

    Args:
        model: of whatever is not said here.
        batch: the pack.
        listener: hears likelihoods.
        told: hears numbers.
        frozen: the models that do not learn; nobody listens to them, and they look for themselves.
        one_look: the encoder's features are made once and kept until the pack is done with; else
            they live no longer than the sampler needs them.

    Attributes:
        asking: number of the objective that asks.
    """

    def __init__(
        self,
        model: Forward,
        batch: PackedBatch,
        listener: SegmentLosses,
        told: Told,
        frozen: FrozenModels,
        *,
        one_look: bool,
    ) -> None:
        self._model, self._batch, self._listener, self._told = model, batch, listener, told
        self.frozen, self.divergence = frozen.asked, frozen.divergence
        self._one_look, self._heard = one_look, False
        self._features: torch.Tensor | None = None
        self._provided: list[tuple[tuple[object, ...], tuple[torch.Tensor, ...]]] = []
        self.asking = 0

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        return self._model.hidden(batch, *self._seen(batch))

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        nll_L = self._model.nll(h_LE, targets_L)
        if targets_L is self._batch.targets_L and not self._heard:
            self._heard = True
            self._listener.hear(self._batch, nll_L)
        return nll_L

    def provided(
        self,
        wanted: str,
        batch: PackedBatch,
        view_B: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Asked twice with the very same tensors, it is made once."""
        asked = (wanted, batch, view_B, ids_BW, mask_BW)
        for before, answer in self._provided:
            if all(one is other for one, other in zip(before, asked, strict=True)):
                return answer
        answer = self._model.provided(*asked, *self._seen(batch))
        self._provided.append((asked, answer))
        return answer

    def tell(self, name: str, total: torch.Tensor) -> None:
        self._told.add(self.asking, name, total)

    def _seen(self, batch: PackedBatch) -> tuple[torch.Tensor, ...]:
        """The pack's features, for a model that takes them."""
        if not self._one_look or batch is not self._batch:
            return ()
        if self._features is None:
            model: Any = self._model
            self._features = model.features(batch)
        return (self._features,)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
