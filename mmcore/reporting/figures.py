"""The curves of a run as pictures: loss, validation, speed, where the time goes, gradients."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from mmcore.reporting.story import Line, Story
from mmcore.reporting.thinning import thinned

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "#3b7dbd", "#d9822b", "#3a9c6e", "#b0467e", "#7a5fb5", "#8c6d46", "#5b9fa8", "#c4443c",
    "#8a8f98", "#a3a132",
)  # fmt: skip
INCIDENTS = (COLOURS[7], COLOURS[3], COLOURS[4])
INK, QUIET = "#1d1f23", "#8a8f98"
SIZE = (8.6, 3.3)
"""Inches."""

STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": QUIET, "xtick.color": INK, "ytick.color": INK, "axes.grid": True,
    "grid.color": "#e4e4df", "grid.linewidth": 0.7, "svg.hashsalt": "mmcore",
}  # fmt: skip
"""Of all our curves."""

SPLIT = {
    "time/data_wait": "wait for data",
    "time/exchange": "exchange",
    "time/encode": "encode",
    "time/sample": "sample",
    "time/llm_forward": "LLM forward",
    "time/backward": "backward",
    "time/optimiser": "optimiser",
    "time/other": "other",
    "time/checkpoint": "checkpoint",
    "time/validation": "validation",
}
"""What the time of a run is made of: a step's spans, and those between two steps."""

SOURCES = "loss_by_source/"
CHECKED = "validation/"


@attrs.frozen
class Figure:
    """A picture of the page.

    Attributes:
        title: over it.
        note: what is to be known to read it.
        svg: the picture.
    """

    title: str
    note: str
    svg: str


def figures(story: Story) -> list[Figure]:
    """Those for which the run has numbers."""
    drawn = (
        _loss(story), _by_source(story), _scores(story), _speed(story), _mfu(story), _time(story),
        _gradients(story), _rates(story), _memory(story),
    )  # fmt: skip
    return [one for one in drawn if one is not None]


def _loss(story: Story) -> Figure:
    checked = _checked(story, f"{CHECKED}loss")

    def draw(axis: Axes) -> None:
        _line(axis, _points(story, "loss"), "training", COLOURS[0])
        if checked:
            for number, stage in enumerate(story.stages):
                points = _checked(story, f"{CHECKED}loss", stage)
                _dots(axis, points, None if number else "validation", COLOURS[1])
            best = [one for one in story.validations if one["best"]]
            newest = {one["stage"]: one for one in best}.values()
            axis.plot(
                [one["step"] for one in newest],
                [one["values"][f"{CHECKED}loss"] for one in newest],
                linestyle="none", marker="o", markersize=9, markerfacecolor="none",
                markeredgecolor=COLOURS[1], label="best of its stage",
            )  # fmt: skip
        for place, (kind, steps) in enumerate(_kinds(story.incidents).items()):
            colour = INCIDENTS[place % len(INCIDENTS)]
            for number, step in enumerate(steps):
                label = None if number else kind
                axis.axvline(step, color=colour, linewidth=1.4, linestyle="--", label=label)
        axis.set_ylabel("nats a token")

    note = "Sum over the objectives, of the whole step." + (
        " Validation: the same on rows that are never trained on." if checked else ""
    )
    return _figure(story, "Loss", note, draw)


def _by_source(story: Story) -> Figure | None:
    names = story.names(SOURCES)
    if not names:
        return None

    def draw(axis: Axes) -> None:
        for number, name in enumerate(names):
            colour = COLOURS[number % len(COLOURS)]
            label = name.removeprefix(SOURCES)
            for place, stage in enumerate(story.stages):
                points = _points(story, name, stage)
                _line(axis, points, None, colour, width=0.9, alpha=0.55)
                _dots(axis, _checked(story, f"{CHECKED}{name}", stage), None, colour)
                if not place:
                    axis.plot([], [], color=colour, label=label)
        axis.set_ylabel("nats a token")

    note = "Of the learned tokens of every source."
    if any(_checked(story, f"{CHECKED}{name}") for name in names):
        note += " Thin: training. With dots: validation."
    return _figure(story, "Loss by source", note, draw)


def _scores(story: Story) -> Figure | None:
    told = dict.fromkeys(name for one in story.validations for name in one["values"])
    own = ("loss", "labels", "samples", "seconds")
    names = [name.removeprefix(CHECKED) for name in told]
    tasks = [name for name in names if name not in own and not name.startswith(SOURCES)]
    if not tasks:
        return None

    def draw(axis: Axes) -> None:
        for number, name in enumerate(tasks):
            whole = "/" not in name
            colour = COLOURS[number % len(COLOURS)]
            _dots(axis, _checked(story, CHECKED + name), name, colour, width=2.0 if whole else 0.9)
        _percent(axis)
        axis.set_ylim(-0.03, 1.03)

    return _figure(story, "Tasks asked in validation", "Share of right answers.", draw)


def _speed(story: Story) -> Figure:
    def draw(axis: Axes) -> None:
        _line(axis, _points(story, "tokens_per_second"), None, COLOURS[0])
        axis.set_ylim(bottom=0)
        axis.set_ylabel("tokens/s")
        axis.yaxis.set_major_formatter("{x:,.0f}")

    return _figure(story, "Speed", "Real tokens, pictures' included, of all processes.", draw)


def _mfu(story: Story) -> Figure | None:
    if not story.names("mfu"):
        return None

    def draw(axis: Axes) -> None:
        _line(axis, _points(story, "mfu"), None, COLOURS[2])
        axis.set_ylim(bottom=0)
        _percent(axis)

    note = (
        "Model FLOPs utilisation: FLOPs that the model's mathematics needs on real tokens, over "
        "the peak of the devices. What is computed again does not count; frozen parts count as "
        "far as they must be gone through."
    )
    return _figure(story, "MFU", note, draw)


def _time(story: Story) -> Figure | None:
    names = [name for name in SPLIT if name in story.names("time/")]
    if not names:
        return None

    def draw(axis: Axes) -> None:
        shares = _shares(story.steps, names)
        axis.stackplot(
            [step for step, _ in shares],
            [[share[name] for _, share in shares] for name in names],
            labels=[SPLIT[name] for name in names],
            colors=COLOURS, linewidth=0,
        )  # fmt: skip
        axis.set_ylim(0, 1)
        _percent(axis)

    return _figure(story, "Where the time goes", "Of steps, and of what is between them.", draw)


def _gradients(story: Story) -> Figure:
    def draw(axis: Axes) -> None:
        _line(axis, _points(story, "grad_norm"), "whole", INK)
        for number, name in enumerate(story.names("grad_norm/")):
            _by_stage(axis, story, name, name.partition("/")[2], COLOURS[number % len(COLOURS)])
        axis.set_yscale("log")

    return _figure(story, "Norm of the gradient", "Before clipping.", draw)


def _rates(story: Story) -> Figure:
    names = story.names("lr/") or ["lr"]

    def draw(axis: Axes) -> None:
        for number, name in enumerate(names):
            _by_stage(axis, story, name, name.partition("/")[2], COLOURS[number % len(COLOURS)])
        axis.set_ylim(bottom=0)

    return _figure(story, "Learning rates", "Of the parts that learn.", draw)


def _memory(story: Story) -> Figure:
    def draw(axis: Axes) -> None:
        for number, name in enumerate(story.names("memory/")):
            points = [(step, value / 2**30) for step, value in _points(story, name)]
            label = name.partition("/")[2].replace("_", " ")
            _line(axis, points, label, COLOURS[number % len(COLOURS)])
        axis.set_ylim(bottom=0)
        axis.set_ylabel("GiB")

    return _figure(story, "Memory", "Of the process, and of the device, that hold most.", draw)


def _figure(story: Story, title: str, note: str, draw: Callable[[Axes], None]) -> Figure:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawn
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with matplotlib.rc_context(STYLE):
        figure = Drawn(figsize=SIZE, layout="constrained", facecolor="white")
        FigureCanvasSVG(figure)
        axis = figure.subplots()
        axis.set_axisbelow(True)
        draw(axis)
        _stage_borders(axis, story)
        first, last = story.steps[0]["step"] - 1, story.steps[-1]["step"]
        axis.set_xlim(first, last + 0.015 * (last - first))
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True))
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        if axis.get_legend_handles_labels()[1]:
            axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return Figure(title, note, file.getvalue())


def _stage_borders(axis: Axes, story: Story) -> None:
    stages = story.stages
    for number, stage in enumerate(stages):
        first = story.of_stage(stage)[0]["step"] - 1
        if number:
            axis.axvline(first, color=QUIET, linewidth=0.8)
        if len(stages) > 1:
            axis.text(
                first, 1.02, f" {stage}", transform=axis.get_xaxis_transform(),
                fontsize=8, color=QUIET, ha="left", va="bottom", clip_on=False,
            )  # fmt: skip


def _by_stage(axis: Axes, story: Story, name: str, label: str, colour: str) -> None:
    """A line that stops where a stage does not have the measure."""
    for number, stage in enumerate(story.stages):
        _line(axis, _points(story, name, stage), None if number else label or name, colour)


def _line(
    axis: Axes,
    points: Sequence[tuple[int, float]],
    label: str | None,
    colour: str,
    width: float = 1.3,
    alpha: float = 1.0,
) -> None:
    """The mean of every bin over a band from its least to its most."""
    curve = thinned(points)
    if curve.least != curve.most:
        axis.fill_between(
            curve.steps, curve.least, curve.most, color=colour, alpha=0.18, linewidth=0
        )
    axis.plot(curve.steps, curve.means, color=colour, linewidth=width, alpha=alpha, label=label)


def _dots(
    axis: Axes,
    points: Sequence[tuple[int, float]],
    label: str | None,
    colour: str,
    width: float = 1.3,
) -> None:
    axis.plot(
        [step for step, _ in points], [value for _, value in points],
        color=colour, linewidth=width, marker="o", markersize=3.5, label=label,
    )  # fmt: skip


def _percent(axis: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def _points(story: Story, name: str, stage: str | None = None) -> list[tuple[int, float]]:
    steps = story.steps if stage is None else story.of_stage(stage)
    return [(step["step"], step[name]) for step in steps if name in step]


def _checked(story: Story, name: str, stage: str | None = None) -> list[tuple[int, float]]:
    return [
        (one["step"], one["values"][name])
        for one in story.validations
        if name in one["values"] and stage in (None, one["stage"])
    ]


def _kinds(incidents: Iterable[Line]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in incidents:
        found.setdefault(one["kind"], []).append(one["step"])
    return found


def _shares(steps: Sequence[Line], names: Sequence[str]) -> list[tuple[float, Mapping[str, float]]]:
    """Bins of steps: their middle, and the share of the bin's time that each of these took."""
    size = max(1, -(-len(steps) // 100))

    def bins() -> Iterator[tuple[float, Mapping[str, float]]]:
        for begin in range(0, len(steps), size):
            some = steps[begin : begin + size]
            sums = {name: sum(step.get(name, 0.0) for step in some) for name in names}
            whole = sum(sums.values()) or 1.0
            middle = (some[0]["step"] + some[-1]["step"]) / 2
            yield middle, {name: value / whole for name, value in sums.items()}

    return list(bins())
