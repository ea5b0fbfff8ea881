"""What a stage's data is measured by: all figures of ``streams`` for one mixture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from mmcore import assemble
from mmcore.benchmarks.streams import (
    MemoryPoint,
    Rate,
    measure_memory,
    measure_rate,
    measure_resume,
    observed_shares,
    with_lanes,
)
from mmcore.data.rounds import LaneSet
from mmcore.inspection.mixture import wanted_shares
from mmcore.inspection.stages import StageData
from mmcore.recipe import DataTable

POSITIONS = (10, 10_000_000)
"""Behind so many samples of the stage a lane is gone on with."""

SHARE_SAMPLES = 10_000
POINTS = 10


@attrs.frozen
class StageFigures:
    """What was measured of one stage.

    Attributes:
        stage: its name.
        sources: how many it has.
        one: all data in one lane.
        all: as many lanes as the recipe has, in one process.
        share_error: of the source that is farthest from its share after 10,000 accepted samples,
            in points (hundredths).
        resume_seconds: until the first pack of a lane behind each of ``POSITIONS`` samples, once
            for every repeat.
        memory: over a long pass of all lanes.
    """

    stage: str
    sources: int
    one: Rate
    all: Rate
    share_error: float
    resume_seconds: Mapping[int, Sequence[float]]
    memory: Sequence[MemoryPoint]

    @property
    def lanes_ratio(self) -> float:
        """Views and tokens of all lanes for each CPU second, over those of one lane: the smaller of
        both, for packs may differ."""
        pairs = [(self.all.tokens, self.one.tokens), (self.all.views, self.one.views)]
        return min(
            (many / self.all.cpu_seconds) / (few / self.one.cpu_seconds)
            for many, few in pairs
            if few
        )


def measure_stage_data(
    data: StageData,
    table: DataTable,
    *,
    packs: int,
    repeats: int,
    rows: int,
    on_rows: Callable[[int], None] = lambda count: None,
) -> StageFigures:
    """Measure in this process, in one thread.

    Args:
        data: the stage; its rows exist.
        table: how they are read.
        packs: how many are timed of either number of lanes.
        repeats: how often a lane is gone on with.
        rows: of the long pass.
        on_rows: told how many rows of the long pass were drawn since it was told last.

    Raises:
        EmptySource, DataFault: as in training.
    """
    settings = assemble.lane_settings(table, data.preparer, data.seed)
    lanes = LaneSet(range(table.lanes), data.sources, settings, {})
    one = measure_rate(with_lanes(lanes, 1), packs)
    many = measure_rate(lanes, packs)
    wanted, observed = wanted_shares(data.sources), observed_shares(lanes, SHARE_SAMPLES)
    resumed = measure_resume(lanes, POSITIONS, repeats)
    return StageFigures(
        stage=data.stage.name,
        sources=len(data.sources),
        one=one,
        all=many,
        share_error=max(abs(observed[label] - wanted[label]) for label in wanted) * 100,
        resume_seconds=dict(zip(POSITIONS, resumed, strict=True)),
        memory=measure_memory(lanes, rows, POINTS, on_rows),
    )
