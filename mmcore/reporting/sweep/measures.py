"""Every number of every cell under one name, for tables, differences and files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import attrs

from mmcore.interfaces import KindScore
from mmcore.reporting.statistics import Summary, at_chance, pooled, summary
from mmcore.reporting.sweep.cells import Point, SweepStory
from mmcore.reporting.sweep.learning import Learning, learned

LOSS, CONVERGED = "loss", "converged"

OWN: Mapping[str, str] = {
    LOSS: "nats",
    CONVERGED: "tokens",
    "variance": "",
    "spikes": "steps",
    "skipped": "steps",
    "incidents": "",
    "tokens": "tokens",
    "seconds": "s",
    "tokens_per_second": "tokens/s",
}
"""Measures of how a cell learned, with their units; all others are scores, TASK/KIND."""


@attrs.frozen
class Grid:
    """All numbers of a sweep.

    Attributes:
        story: whose.
        learned: how every cell learned, by its id.
        scores: by TASK/KIND and then by the cell's id; measures that the sweep names come first.
    """

    story: SweepStory
    learned: Mapping[str, Learning]
    scores: Mapping[str, Mapping[str, KindScore]]

    @property
    def names(self) -> list[str]:
        """Of all measures: scores, then how the cells learned."""
        return [*self.scores, *OWN]

    @property
    def kinds(self) -> list[str]:
        """Scores of whole kinds, and levels that the sweep names."""
        named = set(self.story.sweep.measures)
        return [
            name
            for name, found in self.scores.items()
            if name in named or not any(score.level for score in found.values())
        ]

    def value(self, cell: str, name: str) -> float:
        """nan where the cell has no such number."""
        if name in OWN:
            found = getattr(self.learned[cell], name)
        else:
            score = self.scores[name].get(cell)
            found = score.accuracy if score is not None else None
        return math.nan if found is None else float(found)

    def values(self, point: Point, name: str) -> list[float]:
        """One of every seed that finished."""
        return [self.value(run.cell.id, name) for run in point.ran]

    def summary(self, point: Point, name: str) -> Summary | None:
        """Over the point's seeds; None where it has no such number."""
        return summary(self.values(point, name))

    def pooled(self, point: Point, name: str) -> KindScore | None:
        """The answers of all seeds of a point together; None where it was not asked."""
        found = [self.scores[name].get(run.cell.id) for run in point.ran]
        asked = [score for score in found if score is not None]
        return pooled(asked) if asked else None

    def shows(self, point: Point, name: str) -> bool:
        """Whether the point's score, over its seeds, clears what luck gets."""
        score = self.pooled(point, name)
        return score is not None and not at_chance(score)

    def seeds_at_chance(self, point: Point, name: str) -> int:
        """How many of the point's seeds do not clear what luck gets, each by its own answers."""
        found = [self.scores[name].get(run.cell.id) for run in point.ran]
        return sum(score is not None and at_chance(score) for score in found)

    def by_task(self) -> Iterator[tuple[str, list[str]]]:
        """Every task, and the measures of its kinds and levels."""
        tasks: dict[str, list[str]] = {}
        for name in self.scores:
            tasks.setdefault(name.partition("/")[0], []).append(name)
        yield from tasks.items()


def grid(story: SweepStory) -> Grid:
    scores: dict[str, dict[str, KindScore]] = {}
    for run in story.ran:
        for task, score in run.scores():
            scores.setdefault(f"{task}/{score.kind}", {})[run.cell.id] = score
    first = [name for name in story.sweep.measures if name in scores]
    return Grid(story, learned(story), {name: scores[name] for name in _first(first, scores)})


def _first(named: Sequence[str], names: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys([*named, *names]))
