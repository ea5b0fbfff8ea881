"""What every sample of a step lost, kept on the device until somebody asks.

Letters: L labelled positions, S segments of the pack.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import PackedBatch, Segment
from mmcore.training.spikes import SampleLoss


class SegmentLosses:
    """Listens to the likelihoods that objectives ask for, pack by pack."""

    def __init__(self) -> None:
        self._packs: list[tuple[tuple[Segment, ...], torch.Tensor]] = []

    def clear(self) -> None:
        """Forget; before a step."""
        self._packs = []

    def hear(self, batch: PackedBatch, nll_L: torch.Tensor) -> None:
        """Take the likelihoods of a pack's labels; of the pack, only its segments are kept."""
        with torch.no_grad():
            weighted_L = nll_L.detach().float() * batch.label_weight_L
            total_S = weighted_L.new_zeros(max(1, len(batch.segments)))
            total_S.index_add_(0, batch.label_segment_L, weighted_L)
        self._packs.append((batch.segments, total_S))

    def packs(self) -> list[list[SampleLoss]]:
        """The samples of every pack since ``clear``, in order; waits for the device."""
        return [
            [
                SampleLoss(str(segment.key), segment.source, total, segment.labels)
                for segment, total in zip(segments, total_S.tolist(), strict=False)
                if segment.preference != "dispreferred"
            ]
            for segments, total_S in self._packs
        ]

    def samples(self) -> list[SampleLoss]:
        """The samples of all packs."""
        return [one for pack in self.packs() for one in pack]
