"""A loss that leaps: when it has, and what a run does that goes back and leaves out the data."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

import attrs

HISTORY = 64
"""So many losses before a step say what is usual."""

ENOUGH = 16
"""Fewer say nothing."""

FLOOR = 0.01
"""A deviation is at least this share of the median, however steady the losses are."""


class RollBack(Exception):  # no error: the run goes on
    """Training is to go on from the last checkpoint, without the data of some steps.

    Attributes:
        stage: name of the stage.
        first, last: steps of the stage whose data is to be left out.
    """

    def __init__(self, stage: str, first: int, last: int) -> None:
        super().__init__(f"stage {stage!r} goes back to leave out steps {first} to {last}")
        self.stage, self.first, self.last = stage, first, last


@attrs.frozen(kw_only=True)
class SpikeGuard:
    """What is a spike, and what follows from it.

    Attributes:
        deviations: a loss so far above the median is one; 0 for none.
        rollbacks: how often the run may still go back.
        margin: steps before a spike whose data is left out as well.
    """

    deviations: float = 0.0
    rollbacks: int = 0
    margin: int = 1

    def limit(self, before: Sequence[float]) -> float | None:
        """Above which a loss is a spike, after these; None while nothing can be said."""
        if not self.deviations or len(before) < ENOUGH:
            return None
        median = statistics.median(before)
        spread = statistics.median(abs(one - median) for one in before)
        # 1.4826 makes of the median deviation the standard deviation of normal noise.
        return median + self.deviations * max(1.4826 * spread, FLOOR * abs(median))


@attrs.frozen
class SampleLoss:
    """What one sample of a step contributed: its summed loss over so many labels."""

    key: str
    source: str
    total: float
    labels: int


def by_source(samples: Sequence[SampleLoss]) -> dict[str, float]:
    """Mean loss per label of every source, the highest first."""
    totals: defaultdict[str, float] = defaultdict(float)
    labels: defaultdict[str, int] = defaultdict(int)
    for one in samples:
        totals[one.source] += one.total
        labels[one.source] += one.labels
    means = {source: totals[source] / labels[source] for source in totals if labels[source]}
    return dict(sorted(means.items(), key=lambda entry: -entry[1]))


def worst(samples: Sequence[SampleLoss], most: int) -> list[SampleLoss]:
    """The samples with the highest mean loss per label."""
    taught = [one for one in samples if one.labels]
    return sorted(taught, key=lambda one: -one.total / one.labels)[:most]
