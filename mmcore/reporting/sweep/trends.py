"""Whether a measure goes with what recipes declare: over all cells by rank, or between points."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import attrs

from mmcore.reporting.statistics import permutation_p, rank_correlation
from mmcore.reporting.sweep.cells import Point
from mmcore.reporting.sweep.differences import Compared
from mmcore.reporting.sweep.measures import Grid
from mmcore.reporting.sweep.tables import difference_text

STRONG = 0.5
"""A rank correlation below this is not told, whatever its p."""

RARE = 0.05
"""Nor one that shuffled cells reach more often than this."""


@attrs.frozen
class Trend:
    """How a measure goes with what recipes declare.

    Attributes:
        name: of the measure.
        rho: Spearman's rank correlation over the cells.
        p: how often shuffled cells have one as far from 0.
        n: cells.
        apart: points that are told apart, if it is to the same side in all pairs whose declared
            values differ: what two points of few seeds can show, and ranks cannot.
        paired: to which side that is, with more of what is declared; 0 for neither.
    """

    name: str
    rho: float
    p: float
    n: int
    apart: Compared | None = None
    paired: int = 0

    @property
    def by_rank(self) -> bool:
        return abs(self.rho) >= STRONG and self.p < RARE

    @property
    def side(self) -> int:
        """1 where the measure rises with what is declared, -1 where it falls, 0 for neither."""
        return int(math.copysign(1, self.rho)) if self.by_rank else self.paired

    def __str__(self) -> str:
        if self.by_rank:
            return (
                f"{self.name} (rank correlation {self.rho:+.2f} over {self.n} cells, "
                f"p {self.p:.1g} by shuffling them)"
            )
        assert self.apart is not None, "without ranks it is a pair that shows it"
        first, second = self.apart.first.name, self.apart.second.name
        told = difference_text(self.apart)
        return f"{self.name} ({told} from {first} to {second}, {self.apart.found.n} seeds)"


def trend(
    grid: Grid,
    name: str,
    declared: Mapping[str, float],
    pairs: Sequence[Compared],
    called: str = "",
) -> Trend | None:
    """Over the cells of which something is declared; None where that does not vary.

    Args:
        declared: by the cell's id.
        pairs: of points, in all measures.
        called: what the measure is called in text.
    """
    seen = {cell: grid.value(cell, name) for cell in declared}
    cells = [cell for cell in declared if math.isfinite(seen[cell])]
    xs, ys = [declared[cell] for cell in cells], [seen[cell] for cell in cells]
    if len(set(xs)) < 2:
        return None
    apart, paired = _paired([one for one in pairs if one.measure == name], declared)
    rho, p = rank_correlation(xs, ys), permutation_p(xs, ys)
    return Trend(called or name, rho, p, len(cells), apart, paired)


def trends(grid: Grid, declared: Mapping[str, float], pairs: Sequence[Compared]) -> list[Trend]:
    """Of every kind and level that is above chance somewhere."""
    shown = grid.story.shown
    names = [name for name in grid.scores if any(grid.shows(point, name) for point in shown)]
    found = (trend(grid, name, declared, pairs) for name in names)
    return [one for one in found if one is not None]


def _paired(
    pairs: Sequence[Compared], declared: Mapping[str, float]
) -> tuple[Compared | None, int]:
    """The largest difference, and to which side it is; nothing where pairs disagree."""
    sides: dict[int, Compared] = {}
    for one in pairs:
        first, second = _declared(one.first, declared), _declared(one.second, declared)
        if one.apart and first is not None and second is not None and first != second:
            side = int(math.copysign(1, one.found.mean * (second - first)))
            widest = sides.get(side)
            if widest is None or abs(one.found.mean) > abs(widest.found.mean):
                sides[side] = one
    if len(sides) != 1:
        return None, 0
    ((side, pair),) = sides.items()
    return pair, side


def _declared(point: Point, declared: Mapping[str, float]) -> float | None:
    """Mean over the point's cells; None where nothing is declared of one."""
    values = [declared.get(run.cell.id) for run in point.ran]
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None
