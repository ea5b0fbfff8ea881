"""The numbers of a sweep as CSV: of every cell, of every point, and of every pair of points."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator

from mmcore.reporting.statistics import at_chance
from mmcore.reporting.sweep.differences import compared
from mmcore.reporting.sweep.measures import OWN, Grid

Row = Iterable[object]


def files(grid: Grid) -> dict[str, str]:
    """Their text, by name."""
    axes = [axis.name for axis in grid.story.sweep.axes]
    score = ["questions", "low", "high", "luck"]
    return {
        "cells.csv": _text(
            ["cell", *axes, "seed", "outcome", "reason", "measure", "unit", "value", *score],
            _cells(grid),
        ),
        "summary.csv": _text(
            [*axes, "measure", "unit", "mean", "spread", "n", *score, "at_chance"], _points(grid)
        ),
        "differences.csv": _text(
            ["measure", "first", "second", "difference", "half_of_95_interval", "n", "verdict"],
            _pairs(grid),
        ),
    }


def _cells(grid: Grid) -> Iterator[Row]:
    """A row per cell and measure; of a cell without numbers one row, with the reason."""
    axes = [axis.name for axis in grid.story.sweep.axes]
    left_out = {one.cell.id: one for one in grid.story.left_out}
    for cell in grid.story.sweep.cells:
        named = [cell.id, *(cell.labels[axis] for axis in axes), cell.seed]
        if cell.id in left_out:
            one = left_out[cell.id]
            yield [*named, one.state, one.why, *[""] * 7]
            continue
        for name in grid.names:
            value = grid.value(cell.id, name)
            score = grid.scores.get(name, {}).get(cell.id)
            counts: Row = ["", "", "", ""]
            if score is not None:
                counts = [score.questions, *map(_number, (score.low, score.high, score.luck))]
            if math.isfinite(value):
                yield [*named, "finished", "", name, _unit(name), _number(value), *counts]


def _points(grid: Grid) -> Iterator[Row]:
    axes = [axis.name for axis in grid.story.sweep.axes]
    for point in grid.story.shown:
        for name in grid.names:
            found = grid.summary(point, name)
            if found is None:
                continue
            score = grid.pooled(point, name) if name in grid.scores else None
            counts: Row = [""] * 5
            if score is not None:
                numbers = map(_number, (score.low, score.high, score.luck))
                counts = [score.questions, *numbers, "yes" if at_chance(score) else "no"]
            spread = "" if found.spread is None else _number(found.spread)
            labels = [point.labels[axis] for axis in axes]
            yield [*labels, name, _unit(name), _number(found.mean), spread, found.n, *counts]


def _pairs(grid: Grid) -> Iterator[Row]:
    if not grid.story.ran:
        return
    for one in compared(grid):
        half = "" if one.found.half is None else _number(one.found.half)
        names = [one.measure, one.first.name, one.second.name]
        yield [*names, _number(one.found.mean), half, one.found.n, one.verdict]


def _unit(name: str) -> str:
    return OWN.get(name, "share")


def _number(value: float) -> str:
    """Nine digits: what a different order of adding up changes is beyond them."""
    return f"{value:.9g}"


def _text(head: list[str], rows: Iterable[Row]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return file.getvalue()
