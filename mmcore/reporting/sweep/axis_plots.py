"""Scores over the values of an axis: a panel per kind of question, with every seed and luck."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from mmcore.reporting.figures import QUIET
from mmcore.reporting.sweep.cells import Point, SweepStory, number, numeric
from mmcore.reporting.sweep.drawing import MARKERS, MOST_LINES, PALETTE, Picture, panels, shape
from mmcore.reporting.sweep.measures import Grid
from mmcore.sweeps.folder import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axis_pictures(grid: Grid, axis: Axis) -> Iterator[Picture]:
    """A plot per task: a panel per kind of question, over the values of the axis."""
    named = {point.labels[axis.name] for point in grid.story.shown}
    values = [label for label in axis.values if label in named]
    if len(values) < 2:
        return
    for task, names in grid.by_task():
        yield _axis_picture(grid, axis, values, task, names)


def _axis_picture(
    grid: Grid, axis: Axis, values: Sequence[str], task: str, names: Sequence[str]
) -> Picture:
    every = _lines(grid.story, axis.name)
    lines = every[:MOST_LINES]
    places = _places(values)

    def draw(axes: Sequence[Axes]) -> None:
        for panel, name in zip(axes, names, strict=True):
            for at, (others, points) in enumerate(lines):
                beside = (at - (len(lines) - 1) / 2) * 0.022 * _width(places)
                shifted = {label: place + beside for label, place in places.items()}
                _scores(panel, grid, name, axis.name, points, shifted, others, at)
            luck = [
                (places[point.labels[axis.name]], score.luck)
                for point in grid.story.shown
                if (score := grid.pooled(point, name)) is not None
            ]
            _luck(panel, luck)
            panel.set_title(name.partition("/")[2], fontsize=9, loc="left")
            _ticks(panel, values, places)
            panel.set_ylim(-0.04, 1.04)
        for place, panel in enumerate(axes):
            if place % shape(len(axes))[1] == 0:
                panel.set_ylabel("right answers")
            if place >= len(axes) - shape(len(axes))[1]:
                log = numeric(values) and logarithmic(values)
                panel.set_xlabel(f"{axis.name} (log scale)" if log else axis.name)

    note = (
        "Share of right answers: mean over the seeds, with bars of one sample standard deviation; "
        "small dots are seeds. Dashed: what luck gets."
    )
    if len(every) > len(lines):
        note += f" The first {len(lines)} settings of the other axes of {len(every)}."
    file = f"axis-{_file(axis.name)}-{_file(task)}"
    return panels(
        file, f"{task} by {axis.name}", note, len(names), draw, legend=len(lines) > 1, share_y=True
    )


def _lines(story: SweepStory, axis: str) -> list[tuple[str, list[Point]]]:
    """The points of every setting of the other axes; one line of all where axes go together."""
    points = story.shown
    if not story.crossed:
        return [("", points)]

    def others(point: Point) -> tuple[tuple[str, str], ...]:
        return tuple((name, label) for name, label in point.labels.items() if name != axis)

    order = list(dict.fromkeys(map(others, points)))
    ordered = sorted(points, key=lambda point: order.index(others(point)))
    return [
        (", ".join(f"{name} {label}" for name, label in key), list(group))
        for key, group in groupby(ordered, others)
    ]


def _places(values: Sequence[str]) -> dict[str, float]:
    """Where on the x axis a label stands: numbers by their value, or its logarithm where they
    reach far; words one after another."""
    if numeric(values):
        numbers = {label: number(label) or 0.0 for label in values}
        if logarithmic(values):
            return {label: math.log2(value) for label, value in numbers.items()}
        return numbers
    return {label: float(place) for place, label in enumerate(values)}


def logarithmic(values: Sequence[str]) -> bool:
    """Whether the numbers of an axis are drawn by their logarithm."""
    numbers = [found for label in values if (found := number(label)) is not None]
    return min(numbers) > 0 and max(numbers) >= 8 * min(numbers)


def _scores(
    panel: Axes,
    grid: Grid,
    name: str,
    axis: str,
    points: Sequence[Point],
    places: dict[str, float],
    label: str,
    at: int,
) -> None:
    colour = PALETTE[at % len(PALETTE)]
    found = [
        (places[point.labels[axis]], told)
        for point in points
        if (told := grid.summary(point, name)) is not None
    ]
    panel.errorbar(
        [x for x, _ in found], [told.mean for _, told in found],
        [told.spread or 0.0 for _, told in found],
        color=colour, marker=MARKERS[at % len(MARKERS)], markersize=5, linewidth=1.2, capsize=3,
        linestyle="-" if numeric(list(places)) else "none", label=label or None,
    )  # fmt: skip
    dots = [
        (places[point.labels[axis]] + 0.03 * _width(places), value)
        for point in points
        for value in grid.values(point, name)
        if math.isfinite(value)
    ]
    panel.plot(
        [x for x, _ in dots], [y for _, y in dots],
        linestyle="none", marker="o", markersize=2.5, color=colour, alpha=0.55,
    )  # fmt: skip


def _width(places: dict[str, float]) -> float:
    """Of the part of the x axis that is used."""
    return max(places.values()) - min(places.values()) + (0 if numeric(list(places)) else 1)


def _luck(panel: Axes, luck: Sequence[tuple[float, float]]) -> None:
    """As a line through the values of the axis, a little beyond the outermost."""
    at: dict[float, float] = {}
    for x, value in luck:
        at[x] = max(value, at.get(x, 0.0))
    xs = sorted(at)
    if xs:
        margin = 0.08 * (xs[-1] - xs[0]) or 0.5
        panel.plot(
            [xs[0] - margin, *xs, xs[-1] + margin], [at[xs[0]], *(at[x] for x in xs), at[xs[-1]]],
            color=QUIET, linestyle="--", linewidth=1,
        )  # fmt: skip


def _ticks(panel: Axes, values: Sequence[str], places: dict[str, float]) -> None:
    from matplotlib.ticker import PercentFormatter

    panel.set_xticks([places[label] for label in values], list(values))
    if not numeric(values):
        panel.set_xlim(-0.5, len(values) - 0.5)
        if max(map(len, values)) * len(values) > 34:
            panel.tick_params(axis="x", labelrotation=25)
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))


def _file(name: str) -> str:
    """A name that any disk takes."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
