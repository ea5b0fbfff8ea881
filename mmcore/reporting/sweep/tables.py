"""The tables of a sweep: what every point scored, how it learned, which points are told apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

from mmcore.reporting.durations import duration
from mmcore.reporting.statistics import Summary
from mmcore.reporting.sweep.cells import Point, SweepStory
from mmcore.reporting.sweep.differences import Compared, compared
from mmcore.reporting.sweep.learning import threshold, yardstick
from mmcore.reporting.sweep.measures import CONVERGED, LOSS, Grid
from mmcore.reporting.sweep.wording import title, wording

NOTHING = "–"

MOST_KINDS = 6
"""Kinds of question that stand side by side, where there are fewer points."""

COUNTS = ("spikes", "skipped", "incidents")
"""How a cell learned, as counts: they are added up over the seeds."""


@attrs.frozen
class Entry:
    """A field of a table; ``quiet`` where it shows nothing, ``strong`` where it shows most."""

    text: str
    quiet: bool = False
    strong: bool = False


@attrs.frozen
class Table:
    """A table of the page.

    Attributes:
        title: over it.
        note: what is to be known to read it.
        head: a line of titles; the first column names the row.
        rows: of fields.
        words: columns of words, which stand on the left.
    """

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    words: frozenset[int] = frozenset({0})


def tables(grid: Grid) -> list[Table]:
    """Those for which the sweep has numbers."""
    if not grid.story.ran:
        return []
    pairs = compared(grid)
    scores = [_scores(grid, task, names) for task, names in grid.by_task()]
    scores = [attrs.evolve(one, note=one.note if one is scores[0] else "") for one in scores]
    return [*scores, *([_differences(pairs)] if pairs else []), _learning(grid)]


def _scores(grid: Grid, task: str, names: Sequence[str]) -> Table:
    points = grid.story.shown
    rows = tuple(
        (Entry(point.name), Entry(str(len(point.ran))), *(_score(grid, point, n) for n in names))
        for point in points
    )
    note = (
        "Right answers in percent: mean ± sample standard deviation over the seeds (n of them). "
        "Luck is the better of chance and of the best constant answer. A score in brackets is at "
        "chance and shows nothing: the lower end of the 95 % Wilson interval of all its seeds' "
        "answers together does not clear luck. All seeds are asked the same questions, so this "
        "interval is about these models; for other questions it would be wider."
    )
    head = (
        "point",
        "n",
        *(f"{name.partition('/')[2]} (luck {_luck(grid, name)})" for name in names),
    )
    made = Table(f"Scores: {task}", note, head, rows)
    return _turned(made) if len(names) > MOST_KINDS and len(rows) < len(names) else made


def _score(grid: Grid, point: Point, name: str) -> Entry:
    found = grid.summary(point, name)
    if found is None:
        return Entry(NOTHING)
    text = spread_text(found, lambda value: f"{100 * value:.1f}")
    return Entry(text) if grid.shows(point, name) else Entry(f"({text})", quiet=True)


def _luck(grid: Grid, name: str) -> str:
    """Such as ``25``, or ``25 to 34`` where the points were asked differently."""
    found = [score.luck for point in grid.story.shown if (score := grid.pooled(point, name))]
    return spanned(found, lambda luck: f"{100 * luck:.0f}")


def spread_text(found: Summary, shown: Callable[[float], str]) -> str:
    """``53.0 ± 4.1``, or ``53.0`` of one seed."""
    mean = shown(found.mean)
    return mean if found.spread is None else f"{mean} ± {shown(found.spread)}"


def _differences(pairs: Sequence[Compared]) -> Table:
    """Pairs of points by measures: the fewer of them side by side."""
    names = list(dict.fromkeys(one.measure for one in pairs))
    found = {(one.first.name, one.second.name, one.measure): one for one in pairs}
    expected = 0.05 * sum(one.shows and one.found.half is not None for one in pairs)
    note = (
        "One point less the other, seed by seed (n of them), with the 95 % t-interval of "
        "the mean; of points that differ in one axis. Bold: the interval leaves 0 out, so the "
        "points are told apart. In brackets: both are at chance, which shows nothing. Scores "
        "are taken to spread at least as counting in whole questions makes them, and tokens to the "
        "common loss as counting in whole steps does. The intervals are not "
        "widened for their number: of these "
        f"comparisons about {expected:.1f} would be told apart by luck alone if nothing differed."
    )
    between = list(dict.fromkeys((one.first.name, one.second.name) for one in pairs))
    columns = [[found.get((*two, name)) for name in names] for two in between]
    titles = [f"{second} less {first}" for first, second in between]
    if len(between) > len(names):
        return Table(
            "Differences", note, ("points", "n", *map(_measured, names)), _rows(titles, columns)
        )
    turned = [list(row) for row in zip(*columns, strict=True)]
    return Table(
        "Differences", note, ("", "n", *titles), _rows(list(map(_measured, names)), turned)
    )


def _rows(
    titles: Sequence[str], found: Sequence[Sequence[Compared | None]]
) -> tuple[tuple[Entry, ...], ...]:
    """Each with its title and the seeds that are compared in it."""
    return tuple(
        (Entry(title), Entry(_seeds(row)), *map(_difference, row))
        for title, row in zip(titles, found, strict=True)
    )


def _seeds(row: Sequence[Compared | None]) -> str:
    return spanned([one.found.n for one in row if one is not None], str)


def _measured(name: str) -> str:
    """A measure with the unit of its differences."""
    unit = wording(name).unit
    return f"{title(name)} ({unit})" if unit else title(name)


def _difference(one: Compared | None) -> Entry:
    if one is None:
        return Entry(NOTHING)
    text = difference_text(one)
    if not one.shows:
        return Entry(f"({text})", quiet=True)
    return Entry(text, quiet=not one.apart, strong=one.apart)


def difference_text(one: Compared) -> str:
    """``+3.2 ± 1.1``, in the unit of its wording."""
    words, half = wording(one.measure), one.found.half
    text = words.shown(one.found.mean, "+")
    return text if half is None else f"{text} ± {words.shown(half)}"


def _learning(grid: Grid) -> Table:
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        LOSS: ("loss at the end", wording(LOSS).shown),
        CONVERGED: ("thousand tokens to the common loss", wording(CONVERGED).shown),
        "variance": ("gradient variance", wording("variance").shown),
        "tokens": ("thousand tokens", lambda value: f"{value / 1000:,.1f}"),
        "seconds": ("time of a cell", duration),
        "tokens_per_second": ("tokens/s", thousands),
    }
    rows = tuple(
        (
            Entry(point.name),
            Entry(str(len(point.ran))),
            *(_measure(grid, point, name, shown) for name, (_, shown) in columns.items()),
            *(Entry(thousands(sum(grid.values(point, name)))) for name in COUNTS),
        )
        for point in grid.story.shown
    )
    head = ("point", "n", *(title for title, _ in columns.values()), *COUNTS)
    made = Table("Learning", _learning_note(grid.story), head, rows)
    return _turned(made) if len(rows) < len(head) else made


def _turned(table: Table) -> Table:
    """Its columns as rows: few points side by side are narrower than many measures."""
    head = ("", *(row[0].text for row in table.rows))
    columns = zip(*(row[1:] for row in table.rows), strict=True)
    rows = tuple(
        (Entry(title), *column) for title, column in zip(table.head[1:], columns, strict=True)
    )
    return attrs.evolve(table, head=head, rows=rows)


def _measure(grid: Grid, point: Point, name: str, shown: Callable[[float], str]) -> Entry:
    found = grid.summary(point, name)
    if found is None or not math.isfinite(found.mean):
        return Entry(NOTHING)
    return Entry(spread_text(found, shown))


def _learning_note(story: SweepStory) -> str:
    return (
        f"Mean ± sample standard deviation over the seeds. {_loss_note(story)} Gradient "
        "variance: of the norm, over the square of its mean, after warm-up. Of all seeds together: "
        "spikes, which are losses that leapt, by the rule of the run's own guard; skipped, which "
        "are steps whose gradient was not finite; lines of the incident log. Times depend on what "
        "else the machine did."
    )


def spanned(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """``3``, or ``2 to 3`` where they differ."""
    low, high = shown(min(values)), shown(max(values))
    return low if low == high else f"{low} to {high}"


def _loss_note(story: SweepStory) -> str:
    yard, limit = yardstick(story), threshold(story)
    if yard is None:
        return (
            "The cells have no stage and no objective in common, so their losses are of different "
            "things and are not shown."
        )
    what = f"the objective {yard.objective}" if yard.objective else "the total"
    loss = f"Loss: of {what} in the stage {yard.stage}, mean of its last 20 steps, in nats."
    if not yard.alike:
        return (
            f"{loss} The cells do not learn from the same data with the same LLM, or their recipes "
            "cannot be read here: losses of different things, which are not compared."
        )
    if limit is None:
        return f"{loss} None is finite."
    return (
        f"{loss} The common loss is what the worst cell ends at, {limit:.3f}; the tokens to it are "
        "those of the stage after which the mean of 20 steps stays there."
    )


def thousands(value: float) -> str:
    """``12,300``: of a count that may be large."""
    return f"{value:,.0f}"


def left_out(story: SweepStory) -> Table | None:
    """The cells without numbers, by name."""
    if not story.left_out:
        return None
    rows = tuple((Entry(one.cell.id), Entry(one.state), Entry(one.why)) for one in story.left_out)
    note = "No number on this page has anything of these cells in it."
    return Table("Cells left out", note, ("cell", "state", "why"), rows, frozenset({0, 1, 2}))


def cells(story: SweepStory) -> Table:
    """The cells that finished, each with its seed and what its recipe has of its own."""
    rows = tuple(
        (
            Entry(run.cell.id),
            Entry(", ".join(run.cell.overrides)),
            Entry(NOTHING if run.cell.tokens is None else thousands(run.cell.tokens)),
            Entry(NOTHING if run.cell.flops is None else f"{run.cell.flops:.3g}"),
            Entry(duration(run.outcome.seconds)),
            Entry(str(run.outcome.environment.get("parallel", NOTHING))),
        )
        for run in story.ran
    )
    head = ("cell", "its own keys", "tokens planned", "FLOPs planned", "time", "at a time")
    return Table("Cells", "What finished.", head, rows, frozenset({0, 1}))
