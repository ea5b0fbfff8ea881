"""Leave out the data of some steps, so that a run that was set back does not meet it again.

The data of a stage is numbered like the steps that would be made of it, from 1. Which data a step
has depends on nothing but the numbers that are left out, so a run that is killed and goes on does
the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from mmcore.interfaces import PackedBatch
from mmcore.training.feed import Loader, RejectedRow
from mmcore.training.progress import SAMPLES

DISCARDED = "discarded_steps"
"""The count of steps whose data was left out."""


def data_number(step: int, discarded: Collection[int]) -> int:
    """Which data step number ``step`` of the stage has; 0 for 0."""
    number = made = 0
    while made < step:
        number += 1
        made += number not in discarded
    return number


@attrs.frozen(eq=False)
class MergedData:
    """A step's data, with what was counted on the way to it."""

    batches: Sequence[PackedBatch]
    rejected: Sequence[RejectedRow]
    counts: Mapping[str, float]
    wait_seconds: float


class DiscardingLoader:
    """A loader whose data is drawn and thrown away where its number is in ``discarded``.

    Args:
        inner: stands after the data of ``steps`` steps, and what was left out before them.
    """

    def __init__(self, inner: Loader, discarded: Collection[int], steps: int) -> None:
        self._inner, self._discarded = inner, discarded
        self._number = data_number(steps, discarded)

    def next_step(self) -> MergedData:
        """The next data that is not left out; what was counted on the way is in its counts, but
        for samples, on which nothing was trained."""
        counts: Counter[str] = Counter()
        rejected: list[RejectedRow] = []
        waited = 0.0
        while True:
            data = self._inner.next_step()
            self._number += 1
            left_out = self._number in self._discarded
            for name, count in data.counts.items():
                if not (left_out and name.partition("/")[0] == SAMPLES):
                    counts[name] += count  # type: ignore[assignment]  # counts are floats here
            rejected += data.rejected
            waited += data.wait_seconds
            if not left_out:
                return MergedData(data.batches, rejected, dict(counts), waited)
            counts[DISCARDED] += 1
