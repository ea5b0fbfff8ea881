"""The loss of every source, summed on the device while the packs go by.

Letters: L labelled positions, S sources, G segments of a pack.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmcore.interfaces import PackedBatch


class SourceLosses:
    """Negative log likelihood of the learned tokens, apart for every source.

    Args:
        sources: their labels; the same on every rank, in the same order.
        device: where the packs are computed.
    """

    def __init__(self, sources: Sequence[str], device: torch.device) -> None:
        self.sources = tuple(sources)
        self._numbers = {label: number for number, label in enumerate(sources)}
        self._sums_S = torch.zeros(len(sources), dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, batch: PackedBatch, nll_L: torch.Tensor) -> None:
        """One pack; ``nll_L`` belongs to its ``targets_L``."""
        if not batch.segments:  # a blank pack teaches nothing
            return
        numbers_G = torch.tensor(
            [self._numbers[one.source] for one in batch.segments], device=nll_L.device
        )
        terms_L = nll_L.detach().double() * batch.label_weight_L
        self._sums_S.index_add_(0, numbers_G[batch.label_segment_L.long()], terms_L)

    def take(self) -> torch.Tensor:
        """``sums_S`` since the last time, on the device, float64."""
        sums_S = self._sums_S.clone()
        self._sums_S.zero_()
        return sums_S


def labels_of(batches: Sequence[PackedBatch]) -> dict[str, int]:
    """How many tokens of each source are learned; dispreferred answers are not."""
    counts: dict[str, int] = {}
    for segment in (one for batch in batches for one in batch.segments):
        if segment.preference != "dispreferred":
            counts[segment.source] = counts.get(segment.source, 0) + segment.labels
    return counts
