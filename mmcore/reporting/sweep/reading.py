"""What the numbers of a sweep do and do not show, in sentences made from the numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcore.reporting.sweep.cells import Point
from mmcore.reporting.sweep.differences import Compared, compared
from mmcore.reporting.sweep.measures import CONVERGED, Grid
from mmcore.reporting.sweep.tables import difference_text, spanned, thousands
from mmcore.reporting.sweep.wording import OF_SCORES, title, wording

MATCHED = 1.05
"""Budgets that differ by a larger factor are said to differ."""

MOST = 6
"""Pairs of points that one sentence names."""


def reading(grid: Grid) -> list[str]:
    """Cautious: what differs beyond its interval, what does not, what shows nothing."""
    if not grid.story.ran:
        return ["No cell has finished, so nothing is shown yet."]
    return [
        *_amount(grid),
        *_unmatched(grid),
        *_chance(grid),
        *_never_asked(grid),
        *_differing(grid),
        *_leapt(grid),
        *_scale(grid),
    ]


def _amount(grid: Grid) -> Iterator[str]:
    story = grid.story
    done, planned = len(story.ran), len(story.sweep.cells)
    if done < planned:
        failed = sum(one.state == "failed" for one in story.left_out)
        tail = f"; {failed} failed" if failed else ""
        yield (
            f"{done} of {planned} cells have finished{tail}. What follows is about those alone and "
            "may change with the others."
        )
    fewest = min(len(point.ran) for point in story.shown)
    if fewest < 2:
        few = [point.name for point in story.shown if len(point.ran) < 2]
        yield (
            f"One seed of {listed(few)}: without a second there is no spread, and no difference "
            "from it can be told from luck."
        )
    empty = [point.name for point in story.points if not point.ran]
    if empty:
        yield f"Nothing is known of {listed(empty)}: no cell has finished."


def _unmatched(grid: Grid) -> Iterator[str]:
    """A point that had more to learn from, or more to compute with, may be better for that."""
    for what, shown in (("tokens", thousands), ("flops", "{:.3g}".format)):
        budgets = {
            point.name: budget
            for point in grid.story.shown
            if (budget := getattr(point.ran[0].cell, what)) is not None
        }
        if budgets and max(budgets.values()) > MATCHED * min(budgets.values()):
            named = [f"{name} {shown(budget)}" for name, budget in budgets.items()]
            word = "FLOPs" if what == "flops" else what
            yield (
                f"The points were not given the same {word} ({listed(named)}): a difference may "
                "come from that alone."
            )


def _chance(grid: Grid) -> Iterator[str]:
    """Kinds at chance everywhere, and those only in some points."""
    points = grid.story.shown
    everywhere = [name for name in grid.kinds if not _showing(grid, points, name)]
    if everywhere:
        yield (
            f"At chance at every point: {listed(everywhere)}. So "
            f"{'it shows' if len(everywhere) == 1 else 'they show'} nothing about the designs that "
            "are compared; more training, or easier questions, would be needed."
        )
    for name in grid.kinds:
        lucky = [point.name for point in points if _asked_at_chance(grid, point, name)]
        if lucky and name not in everywhere:
            yield f"In {name}, {listed(lucky)} did not get above chance; the others did."
        few = [
            f"{point.name} ({alone} of {len(point.ran)})"
            for point in points
            if grid.shows(point, name) and (alone := grid.seeds_at_chance(point, name))
        ]
        if few:
            yield (
                f"In {name} single seeds are at chance where all together are not: {listed(few)}."
            )


def _showing(grid: Grid, points: Sequence[Point], name: str) -> list[Point]:
    return [point for point in points if grid.shows(point, name)]


def _asked_at_chance(grid: Grid, point: Point, name: str) -> bool:
    return grid.pooled(point, name) is not None and not grid.shows(point, name)


def _never_asked(grid: Grid) -> Iterator[str]:
    """Scores that the sweep's file names, of which there is none: a typing error, most often."""
    missing = [name for name in grid.story.sweep.measures if name not in grid.scores]
    if missing:
        known = f"; there are {listed(list(grid.scores))}" if grid.scores else ""
        yield f"`scores` names {listed(missing)}, which no cell was asked{known}."


def _differing(grid: Grid) -> Iterator[str]:
    """A sentence or two for every measure."""
    measures: dict[str, list[Compared]] = {}
    for one in compared(grid):
        if one.shows and one.found.half is not None:
            measures.setdefault(one.measure, []).append(one)
    for name, found in measures.items():
        told = [one for one in found if one.apart]
        same = [one for one in found if not one.apart]
        if not told:
            yield f"In {title(name)} no two points are told apart: {_widest(grid, found)}."
        else:
            yield _told(name, told)
        if told and same:
            names = [f"{one.first.name} and {one.second.name}" for one in same]
            yield f"In {title(name)} not told apart: {_some(names)}."


def _told(name: str, told: Sequence[Compared]) -> str:
    """Largest differences first."""
    ordered = sorted(told, key=lambda one: -abs(one.found.mean))
    words = _some([_sentence(one) for one in ordered])
    unit = wording(name).unit
    return f"In {title(name)} ({unit}{', ' if unit else ''}95 % interval): {words}."


def _sentence(one: Compared) -> str:
    words = wording(one.measure)
    return (
        f"{one.second.name} is {words.more if one.found.mean > 0 else words.less} than "
        f"{one.first.name} by {difference_text(one)[1:]} ({one.found.n} seeds)"
    )


def _some(words: Sequence[str]) -> str:
    """The first of them, and how many more the table has."""
    more = len(words) - MOST
    tail = f"; and {more} more, see the table" if more > 0 else ""
    return "; ".join(words[:MOST]) + tail


def _widest(grid: Grid, found: Sequence[Compared]) -> str:
    """How large a difference could have been missed."""
    measure = found[0].measure
    halves = [one.found.half for one in found if one.found.half is not None]
    words = wording(measure)
    if words is OF_SCORES and min(halves) > 1:
        return "the 95 % intervals are wider than the whole scale, so these are too few seeds"
    if measure == CONVERGED and min(halves) > max(one.tokens for one in grid.learned.values()):
        return "the 95 % intervals are wider than the whole training, so these are too few seeds"
    width = f"{spanned(halves, words.shown)} {words.unit}".rstrip()
    return f"the 95 % intervals reach ± {width}, and smaller differences would not be seen"


def _leapt(grid: Grid) -> Iterator[str]:
    """Spikes and skipped steps, summed over the seeds of a point."""
    for name, what in (("spikes", "Losses leapt"), ("skipped", "Steps had no finite gradient")):
        counts = {point.name: int(sum(grid.values(point, name))) for point in grid.story.shown}
        if any(counts.values()):
            told = listed([f"{point} {count}" for point, count in counts.items()])
            yield f"{what}, over all seeds: {told}."


def _scale(grid: Grid) -> Iterator[str]:
    points = grid.story.shown
    seeds = spanned([len(point.ran) for point in points], str)
    tokens = thousands(max(one.tokens for one in grid.learned.values()))
    learned = [run.cell.trainable / 1e6 for run in grid.story.ran if run.cell.trainable]
    size = f" of {spanned(learned, '{:.3g}'.format)} million learned parameters" if learned else ""
    yield (
        f"All of this is about models{size} after {tokens} tokens, with {seeds} "
        f"seed{'' if seeds == '1' else 's'} a point. It shows nothing about larger models, longer "
        "training or other data: there the order may be another."
    )


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
