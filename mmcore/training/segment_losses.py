"""What every sample of a step lost, kept on the device until the step waits for it anyway.

Letters: L labelled positions, S segments of a pack, G segments of all packs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from mmcore.interfaces import PackedBatch, Segment
from mmcore.training.spikes import SampleLoss


class SegmentLosses:
    """Listens to the likelihoods that objectives ask for, pack by pack, and makes nobody wait."""

    def __init__(self) -> None:
        self._packs: list[tuple[tuple[Segment, ...], torch.Tensor]] = []
        self._told: list[float] | None = None

    def clear(self) -> None:
        """Forget; before a step."""
        self._packs, self._told = [], None

    @property
    def heard(self) -> bool:
        """Whether any objective asked for likelihoods of packs; the same on every rank."""
        return bool(self._packs)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Within, other packs are heard; afterwards those of before are there again."""
        kept = self._packs, self._told
        self.clear()
        try:
            yield
        finally:
            self._packs, self._told = kept

    @torch.no_grad()
    def hear(self, batch: PackedBatch, nll_L: torch.Tensor) -> None:
        """Take the likelihoods of a pack's labels; of the pack, only its segments are kept."""
        total_S = nll_L.new_zeros(len(batch.segments), dtype=torch.float64)
        if batch.segments:  # a blank pack teaches nothing
            weighted_L = nll_L.detach().double() * batch.label_weight_L
            total_S.index_add_(0, batch.label_segment_L, weighted_L)
        self._packs.append((batch.segments, total_S))
        self._told = None

    def totals(self, device: torch.device) -> torch.Tensor:
        """``totals_G`` of all packs since ``clear``, in order; float64, on the device."""
        none = torch.zeros(0, dtype=torch.float64, device=device)
        return torch.cat([none, *(total_S for _, total_S in self._packs)])

    def read(self, totals: Sequence[float]) -> None:
        """Take ``totals`` back once it is on the host, so that it is not waited for again."""
        assert len(totals) == sum(len(segments) for segments, _ in self._packs)
        self._told = list(totals)

    def packs(self) -> list[list[SampleLoss]]:
        """The samples of every pack since ``clear``, in order. Waits for the device, if ``read``
        was not told what it says."""
        if self._told is None:
            self._told = [one for _, total_S in self._packs for one in total_S.tolist()]
        totals = iter(self._told)
        return [
            [
                SampleLoss(str(segment.key), segment.source, total, segment.labels)
                for segment, total in zip(segments, totals, strict=False)
                if segment.preference != "dispreferred"
            ]
            for segments, _ in self._packs
        ]

    def samples(self) -> list[SampleLoss]:
        """The samples of all packs."""
        return [one for pack in self.packs() for one in pack]
