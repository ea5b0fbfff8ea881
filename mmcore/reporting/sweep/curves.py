"""What was measured over the tokens, as curves: the mean of the seeds in a band of all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from mmcore.reporting.figures import QUIET
from mmcore.reporting.sweep.cells import Point, SweepStory
from mmcore.reporting.sweep.drawing import DASHES, MOST_LINES, PALETTE, Picture, panels
from mmcore.reporting.sweep.learning import loss_name, measured, yardstick

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 60


@attrs.frozen
class Band:
    """A curve over seeds: middles of bins of tokens; mean, least and most of the seeds' means."""

    tokens: list[float]
    means: list[float]
    least: list[float]
    most: list[float]


def band(curves: Sequence[Sequence[tuple[float, float]]], bins: int = BINS) -> Band:
    """Of curves of different steps: every seed's mean in every bin of tokens, and their mean and
    bounds. A bin counts where every seed has a step."""
    found = Band([], [], [], [])
    last = max((points[-1][0] for points in curves if points), default=0.0)
    bins = max(1, min(bins, *(len(points) for points in curves)))
    width = last / bins
    sorted_in = [_binned(points, width, bins) for points in curves]
    for place in range(bins):
        means = [statistics.fmean(one[place]) for one in sorted_in if one[place]]
        if len(means) == len(curves):
            found.tokens.append((place + 0.5) * width)
            found.means.append(statistics.fmean(means))
            found.least.append(min(means))
            found.most.append(max(means))
    return found


def _binned(points: Sequence[tuple[float, float]], width: float, bins: int) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in range(bins)]
    for tokens, value in points:  # of a step up to these tokens: what ends at an edge lies before
        found[min(bins - 1, max(0, math.ceil(tokens / width - 1e-9) - 1))].append(value)
    return found


def curve_pictures(story: SweepStory) -> Iterator[Picture]:
    """Of the loss, where the cells have one in common, and of the gradient's norm."""
    yard = yardstick(story)
    if yard is not None:
        what = f"of the objective {yard.objective}" if yard.objective else "in total"
        yield _over_tokens(
            story,
            "loss",
            f"Loss {what}",
            "nats",
            lambda point, stage: [
                measured(run.story, stage, loss_name(yard, run.story.of_stage(stage)))
                for run in point.ran
            ],
            more="" if yard.alike else " Of different data: their heights are not comparable.",
        )
    yield _over_tokens(
        story,
        "gradient-norm",
        "Norm of the gradient, before clipping",
        "norm",
        lambda point, stage: [measured(run.story, stage, "grad_norm") for run in point.ran],
        log=True,
    )


def _over_tokens(
    story: SweepStory,
    name: str,
    title: str,
    unit: str,
    of: Callable[[Point, str], list[list[tuple[float, float]]]],
    log: bool = False,
    more: str = "",
) -> Picture:
    points = story.shown[:MOST_LINES]
    stages = _common_stages(story)

    def draw(axes: Sequence[Axes]) -> None:
        from matplotlib.ticker import EngFormatter

        for axis, stage in zip(axes, stages, strict=True):
            for place, point in enumerate(points):
                _band(axis, [one for one in of(point, stage) if one], point.name, place)
            axis.set_title(stage, fontsize=9, color=QUIET, loc="left")
            axis.set_xlabel("tokens in the stage")
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.set_xlim(left=0)
        if log:
            _log_scale(axes)
        axes[0].set_ylabel(unit)

    note = (
        f"Mean over the seeds in at most {BINS} bins of tokens; the band reaches from the lowest "
        f"seed to the highest.{more}"
    )
    if len(story.shown) > len(points):
        note += f" The first {len(points)} points of {len(story.shown)}."
    return panels(name, title, note, len(stages), draw, legend=len(points) > 1)


def _log_scale(axes: Sequence[Axes]) -> None:
    """Of all panels or none: where any of them reaches far."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    bounds = [axis.dataLim.intervaly for axis in axes]
    if min(low for low, _ in bounds) <= 0 or all(high < 5 * low for low, high in bounds):
        return
    for axis in axes:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())


def _common_stages(story: SweepStory) -> list[str]:
    names = list(dict.fromkeys(name for run in story.ran for name in run.story.stages))
    common = [name for name in names if all(name in run.story.stages for run in story.ran)]
    return common or names


def _band(axis: Axes, curves: Sequence[Sequence[tuple[float, float]]], name: str, at: int) -> None:
    if not curves:
        return
    found = band(curves)
    colour, dashes = PALETTE[at % len(PALETTE)], DASHES[at // len(PALETTE) % len(DASHES)]
    axis.plot(found.tokens, found.means, color=colour, linestyle=dashes, linewidth=1.5, label=name)
    if len(curves) > 1:
        axis.fill_between(
            found.tokens, found.least, found.most, color=colour, alpha=0.18, linewidth=0
        )
