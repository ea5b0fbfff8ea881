"""Curves of any length as a few hundred points: the mean of every bin, and how far it spreads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

POINTS = 400


@attrs.frozen
class Curve:
    """Bins of a curve: their middle step, mean, least and most. Values that are not finite are
    left out; a bin of nothing else is not there."""

    steps: list[float]
    means: list[float]
    least: list[float]
    most: list[float]


def thinned(points: Sequence[tuple[int, float]], most: int = POINTS) -> Curve:
    """At most so many bins of the same number of points, in order."""
    size = max(1, -(-len(points) // most))
    curve = Curve([], [], [], [])
    for bin_ in _bins(points, size):
        values = [value for _, value in bin_ if math.isfinite(value)]
        if values:
            curve.steps.append((bin_[0][0] + bin_[-1][0]) / 2)
            curve.means.append(math.fsum(values) / len(values))
            curve.least.append(min(values))
            curve.most.append(max(values))
    return curve


def _bins(points: Sequence[tuple[int, float]], size: int) -> Iterator[Sequence[tuple[int, float]]]:
    for begin in range(0, len(points), size):
        yield points[begin : begin + size]
