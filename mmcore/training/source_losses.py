"""The loss of every source: what its samples lost, over its learned tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmcore.interfaces import PackedBatch
from mmcore.training.spikes import SampleLoss


def sums_by_source(samples: Sequence[SampleLoss], sources: Sequence[str]) -> list[float]:
    """What the samples of each of these sources lost together, in their order; of others, nothing
    is said."""
    sums = dict.fromkeys(sources, 0.0)
    for one in samples:
        if one.source in sums:
            sums[one.source] += one.total
    return list(sums.values())


def labels_of(batches: Sequence[PackedBatch]) -> dict[str, int]:
    """How many tokens of each source are learned; dispreferred answers are not."""
    counts: dict[str, int] = {}
    for segment in (one for batch in batches for one in batch.segments):
        if segment.preference != "dispreferred":
            counts[segment.source] = counts.get(segment.source, 0) + segment.labels
    return counts


def losses_by_source(
    sums: Sequence[float], labels: Mapping[str, int], sources: Sequence[str]
) -> dict[str, float]:
    """Mean loss of the learned tokens of every source that has some."""
    named = zip(sources, sums, strict=True)
    return {
        f"loss_by_source/{label}": total / labels[label]
        for label, total in named
        if labels.get(label)
    }
