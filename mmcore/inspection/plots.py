"""The statistics of a stage as one picture: a panel for each quantity, a line for each source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmcore.inspection.stats import Measured, StageStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "tokens": "tokens of a sample",
    "views": "views of a sample",
    "pictures": "pictures of a sample",
    "learned": "learned share of its tokens",
}
BLUE, ORANGE, GREY = "#3b7dbd", "#d9822b", "#8a8f98"
WIDTH, LINE, MARGIN = 13.0, 0.26, 1.3
"""Inches: of the picture, of a source in every panel, and of what is around the lines."""


def plot(stats: StageStats, path: Path) -> None:
    """Write the picture as PNG.

    Args:
        stats: of one stage.
        path: where to.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 2 * (MARGIN + LINE * max(3, len(stats.sources))) + 0.4
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3)
    figure.suptitle(
        f"stage {stats.name}: {stats.samples:,} samples in {len(stats.token_fills):,} packs",
        fontweight="bold",
    )
    places = (axes[0][0], axes[0][1], axes[0][2], axes[1][0])
    for axis, (quantity, title) in zip(places, TITLES.items(), strict=True):
        _spreads(axis, stats, quantity, title)
    _shares(axes[1][1], stats)
    _fills(axes[1][2], stats)
    figure.savefig(path, dpi=110)


def _spreads(axis: Axes, stats: StageStats, quantity: str, title: str) -> None:
    """A box from quarter to quarter, whiskers from 5 to 95 in a hundred, a line in the middle."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    drawn = [one for one in stats.sources if one.samples]
    axis.boxplot(
        [list(one.values(quantity)) for one in drawn],
        positions=[_place(stats, one) for one in drawn],
        orientation="horizontal",
        widths=0.6,
        whis=(5, 95),
        flierprops={"marker": ".", "markersize": 2.5, "markeredgecolor": GREY},
        patch_artist=True,
        boxprops={"facecolor": BLUE, "alpha": 0.55, "edgecolor": BLUE},
        medianprops={"color": "black", "linewidth": 1.6},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
        manage_ticks=False,
    )
    bound = {"tokens": stats.max_tokens, "views": stats.max_views}.get(quantity)
    if bound is not None and stats.most(quantity) > 0.5 * bound:
        axis.axvline(bound, color=ORANGE, linestyle="--", linewidth=1)
        axis.text(bound, -0.9, "a pack ", color=ORANGE, ha="right", va="center", fontsize=8)
    axis.set_xlim(left=0)
    if quantity == "learned":
        axis.xaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    _lines(axis, stats, title)


def _shares(axis: Axes, stats: StageStats) -> None:
    """What was drawn as bars, what is wanted as marks."""
    places = [_place(stats, one) for one in stats.sources]
    axis.barh(places, [one.drawn for one in stats.shares], 0.6, color=BLUE, alpha=0.55)
    tokens = [one.tokens for one in stats.shares]
    axis.plot(tokens, places, "d", color=ORANGE, markersize=5, label="of the tokens")
    wanted = [one.wanted for one in stats.shares]
    axis.plot(wanted, places, "|", color="black", markersize=13, mew=2, label="wanted, of samples")
    axis.legend(fontsize=8, frameon=False, loc="best")
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.set_xlim(left=0)
    _lines(axis, stats, "share of the samples drawn")


def _fills(axis: Axes, stats: StageStats) -> None:
    bins = [number / 20 for number in range(21)]
    axis.hist(stats.token_fills, bins, color=BLUE, alpha=0.6, label="tokens")
    axis.hist(stats.view_fills, bins, histtype="step", color=ORANGE, linewidth=1.8, label="views")
    axis.legend(fontsize=8, frameon=False, loc="upper left")
    axis.set_title("how full packs are", fontsize=10)
    axis.set_ylabel("packs", fontsize=9)
    axis.xaxis.set_major_formatter("{x:.0%}")
    axis.set_xlim(0, 1)
    axis.tick_params(labelsize=8)


def _lines(axis: Axes, stats: StageStats, title: str) -> None:
    """A line for every source, the first one above."""
    places = [_place(stats, one) for one in stats.sources]
    axis.set_yticks(places, [one.label for one in stats.sources])
    axis.set_ylim(len(stats.sources) - 0.4, -0.6)
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axis.set_axisbelow(True)


def _place(stats: StageStats, one: Measured) -> int:
    return stats.sources.index(one)
