"""What the ranks tell one another before a step: host data, in one exchange."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import attrs

from mmcore.interfaces import Objective, PackedBatch
from mmcore.training.feed import StepData
from mmcore.training.ranks import gather_objects
from mmcore.training.source_losses import labels_of


@attrs.frozen
class StepFacts:
    """A step's data, as one rank knows it or (after ``shared``) as all do together.

    Attributes:
        terms: per objective, how many terms its loss will sum over.
        packs, positions: packs, and their length, blank ones included.
        tokens, views, labels: positions that hold a sample, pictures' views, learned positions.
        pictures: how many there are, of which views were cut.
        source_labels: learned positions of every source.
        flops: model FLOPs of the packs; 0 where nobody counts them.
        counts: what the loader counted.
        rejected: key, reason and detail of every row that could not be used.
        keys: of the samples.
        wait_seconds: how long the data was waited for; of the ranks, the longest.
    """

    terms: tuple[float, ...]
    packs: int
    positions: int
    tokens: int
    views: int
    labels: int
    pictures: int
    source_labels: dict[str, int]
    flops: float
    counts: dict[str, float]
    rejected: tuple[tuple[str, str, str], ...]
    keys: tuple[str, ...]
    wait_seconds: float

    @property
    def divisors(self) -> list[float]:
        """What the summed losses are divided by: 1 where nobody has anything to teach."""
        return [term or 1.0 for term in self.terms]


def facts_of(
    data: StepData,
    objectives: Sequence[Objective],
    flops: Callable[[PackedBatch], float] | None = None,
) -> StepFacts:
    """What this rank knows of its packs before any forward."""
    batches = data.batches
    return StepFacts(
        terms=tuple(sum(one.count(batch) for batch in batches) for one in objectives),
        packs=len(batches),
        positions=sum(sum(batch.lengths) for batch in batches),
        tokens=sum(batch.tokens for batch in batches),
        views=sum(batch.views for batch in batches),
        labels=sum(batch.labels for batch in batches),
        pictures=sum(batch.pictures for batch in batches),
        source_labels=labels_of(batches),
        flops=sum(map(flops, batches)) if flops else 0.0,
        counts=dict(data.counts),
        rejected=tuple((str(row.key), row.reason, row.detail) for row in data.rejected),
        keys=tuple(
            str(segment.key)
            for batch in batches
            for segment in batch.segments
            if segment.preference != "dispreferred"  # its sample has been named
        ),
        wait_seconds=data.wait_seconds,
    )


def shared(mine: StepFacts) -> StepFacts:
    """What all ranks know together; the same on every rank."""
    everyone = gather_objects(mine)
    counts: defaultdict[str, float] = defaultdict(float)
    for facts in everyone:
        for name, count in facts.counts.items():
            counts[name] += count
    return StepFacts(
        terms=tuple(map(sum, zip(*(facts.terms for facts in everyone), strict=True))),
        packs=sum(facts.packs for facts in everyone),
        positions=sum(facts.positions for facts in everyone),
        tokens=sum(facts.tokens for facts in everyone),
        views=sum(facts.views for facts in everyone),
        labels=sum(facts.labels for facts in everyone),
        pictures=sum(facts.pictures for facts in everyone),
        source_labels=dict(sum((Counter(one.source_labels) for one in everyone), Counter())),
        flops=sum(facts.flops for facts in everyone),
        counts=dict(counts),
        rejected=tuple(row for facts in everyone for row in facts.rejected),
        keys=tuple(key for facts in everyone for key in facts.keys),
        wait_seconds=max(facts.wait_seconds for facts in everyone),
    )
