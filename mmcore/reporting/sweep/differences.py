"""Which points of a sweep are told apart by their seeds, and which are not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import attrs

from mmcore.reporting.statistics import Difference, difference
from mmcore.reporting.sweep.cells import Point, SweepStory
from mmcore.reporting.sweep.learning import threshold
from mmcore.reporting.sweep.measures import CONVERGED, LOSS, OWN, Grid


@attrs.frozen
class Compared:
    """Two points in one measure.

    Attributes:
        measure: its name.
        first, second: the points.
        found: what the second has more.
        shows: whether either of them is above chance; always so of how they learned.
    """

    measure: str
    first: Point
    second: Point
    found: Difference
    shows: bool

    @property
    def apart(self) -> bool:
        return self.shows and self.found.apart

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.shows:
            return "both at chance: shows nothing"
        if self.found.half is None:
            return "one seed: nothing can be said"
        return "told apart" if self.found.apart else "not told apart"


def compared(grid: Grid) -> list[Compared]:
    """All pairs of points that differ in one axis, in every kind of question and in how they
    learned; simply all pairs where the axes are not crossed."""
    pairs = list(_pairs(grid.story))
    return [
        one
        for name in [*grid.kinds, *_of_learning(grid)]
        for first, second in pairs
        if (one := _compared(grid, name, first, second)) is not None
    ]


def _of_learning(grid: Grid) -> list[str]:
    """Losses, and how soon they are reached, only where they may be compared."""
    losses = [LOSS, CONVERGED] if threshold(grid.story) is not None else []
    return [*losses, "variance"]


def _pairs(story: SweepStory) -> Iterator[tuple[Point, Point]]:
    for first, second in combinations(story.shown, 2):
        differ = sum(first.labels[axis] != second.labels[axis] for axis in first.labels)
        if differ == 1 or not story.crossed:
            yield first, second


def _grain(grid: Grid, name: str) -> float:
    """A score moves by whole questions, and a loss is reached at the end of a step."""
    if name == CONVERGED:
        return max(run.tokens / run.steps for run in grid.learned.values())
    asked = [score.questions for score in grid.scores.get(name, {}).values()]
    return 1 / min(asked) if asked else 0.0


def _compared(grid: Grid, name: str, first: Point, second: Point) -> Compared | None:
    seeds = {run.cell.seed: run.cell.id for run in first.ran}
    pairs = [
        (grid.value(seeds[run.cell.seed], name), grid.value(run.cell.id, name))
        for run in second.ran
        if run.cell.seed in seeds
    ]
    found = difference(pairs, _grain(grid, name))
    if found is None:
        return None
    shows = name in OWN or grid.shows(first, name) or grid.shows(second, name)
    return Compared(name, first, second, found, shows)
