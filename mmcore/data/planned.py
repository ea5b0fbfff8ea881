"""The first packs of a stage, planned as training plans them; no picture is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import attrs

from mmcore.data.lane_state import LaneSettings
from mmcore.data.lanes import Lane, RejectedRow
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import SourceSpec

LANES = 4
"""Lanes that are looked at; they differ in their order only."""


@attrs.frozen(eq=False)
class PlannedPacks:
    """Packs, and what happened to rows on the way to them.

    Attributes:
        packs: the samples of each.
        rejected: rows that were left out.
        counts: ``drawn/LABEL``, ``shrunk``, ``rejected`` and so on, as in training.
    """

    packs: Sequence[Sequence[TokenizedSample]]
    rejected: Sequence[RejectedRow]
    counts: Mapping[str, int]


def plan_packs(
    sources: Sequence[tuple[str, SourceSpec]],
    settings: LaneSettings,
    samples: int,
    on_samples: Callable[[int], None] = lambda count: None,
) -> PlannedPacks:
    """Plan packs of the first lanes, in turn, until they hold so many samples.

    Args:
        sources: label and spec of every source.
        settings: as the loader has them.
        samples: at least so many; packs are not cut.
        on_samples: told how many samples every pack has.

    Raises:
        EmptySource, DataFault: as the loader would.
    """
    readers = [SourceReader(label, spec) for label, spec in sources]
    lanes = [Lane(number, readers, settings) for number in range(min(settings.lanes, LANES))]
    packs: list[list[TokenizedSample]] = []
    held = 0
    while held < samples:
        pack = lanes[len(packs) % len(lanes)].plan()
        packs.append(pack)
        held += len(pack)
        on_samples(len(pack))
    counts: Counter[str] = Counter()
    rejected: list[RejectedRow] = []
    for lane in lanes:
        rows, counted = lane.report()
        rejected += rows
        counts.update({name: int(count) for name, count in counted.items()})
    return PlannedPacks(packs, rejected, counts)
