"""A sweep as far as it has come: the runs that finished, and why the others are left out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import attrs

from mmcore.evaluation.table import last_of_each_task
from mmcore.interfaces import METRICS, Evaluation, KindScore
from mmcore.kit.json_lines import entries
from mmcore.reporting import facts
from mmcore.reporting.facts import Facts
from mmcore.reporting.story import ReportError, Story
from mmcore.reporting.story import read as read_story
from mmcore.run_folder.folder import RECIPE
from mmcore.sweeps import folder as folders
from mmcore.sweeps.folder import Axis, Cell, Outcome, Sweep


@attrs.frozen
class Ran:
    """A cell that finished.

    Attributes:
        cell: which.
        outcome: how it ended.
        story: of its run.
        facts: of its recipe.
    """

    cell: Cell
    outcome: Outcome
    story: Story
    facts: Facts

    @property
    def evaluations(self) -> list[Evaluation]:
        """The last of every task."""
        return last_of_each_task(self.story.evaluations)

    def scores(self) -> Iterator[tuple[str, KindScore]]:
        """The last of every task, with the task's label; levels behind their kinds."""
        for evaluation in self.evaluations:
            for score in evaluation.scores:
                yield evaluation.task, score


@attrs.frozen
class LeftOut:
    """A cell without numbers, and why: it failed, has not ended or has not begun."""

    cell: Cell
    state: str
    why: str


@attrs.frozen
class Point:
    """Cells that differ in their seed alone.

    Attributes:
        name: the labels of what varies, as a person reads them.
        labels: the label on every axis.
        ran: those that finished, in the order of the sweep.
        planned: how many there are to be.
    """

    name: str
    labels: Mapping[str, str]
    ran: tuple[Ran, ...]
    planned: int


@attrs.define(slots=False)
class SweepStory:
    """A sweep, as far as it has come.

    Attributes:
        folder: where it lies.
        sweep: what is swept.
        ran: cells that finished, in the sweep's order.
        left_out: all others.
        file: the text of the sweep's own file; empty where it is gone.
    """

    folder: Path
    sweep: Sweep
    ran: Sequence[Ran]
    left_out: Sequence[LeftOut]
    file: str = ""

    @property
    def whole(self) -> bool:
        """Whether every cell finished."""
        return not self.left_out

    @cached_property
    def points(self) -> list[Point]:
        """In the order of the sweep; also those of which no cell has finished."""
        names: dict[tuple[str, ...], list[Cell]] = {}
        for cell in self.sweep.cells:
            names.setdefault(tuple(cell.labels.items()), []).append(cell)  # type: ignore[arg-type]
        ran = {one.cell.id: one for one in self.ran}
        return [
            Point(
                point_name(self.sweep.axes, cells[0].labels),
                cells[0].labels,
                tuple(ran[cell.id] for cell in cells if cell.id in ran),
                len(cells),
            )
            for cells in names.values()
        ]

    @property
    def crossed(self) -> bool:
        """Whether every label of an axis meets every label of the others."""
        return len(self.points) == math.prod(len(axis.values) for axis in self.sweep.axes)

    @property
    def shown(self) -> list[Point]:
        """The points that have numbers."""
        return [point for point in self.points if point.ran]


def point_name(axes: Sequence[Axis], labels: Mapping[str, str]) -> str:
    """The label alone where there is one axis of words; ``axis label`` otherwise."""
    if len(axes) == 1 and not numeric(axes[0].values):
        return next(iter(labels.values()))
    return ", ".join(f"{axis} {label}" for axis, label in labels.items()) or "as it is"


def numeric(values: Sequence[str]) -> bool:
    """Whether all labels of an axis are numbers."""
    return bool(values) and all(number(value) is not None for value in values)


def number(label: str) -> float | None:
    """What a label says, if it is a number."""
    try:
        return float(label)
    except ValueError:
        return None


def read(folder: Path) -> SweepStory:
    """
    Raises:
        SweepFolderError: no sweep lies there.
    """
    found = folders.read(folder)
    ran: list[Ran] = []
    left_out: list[LeftOut] = []
    for cell in found.sweep.cells:
        outcome = found.outcomes.get(cell.id)
        one = _cell(cell, outcome, found.run(cell.id))
        if isinstance(one, Ran):
            ran.append(one)
        else:
            left_out.append(one)
    file = folder / folders.SWEEP
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return SweepStory(folder, found.sweep, ran, left_out, text)


def _cell(cell: Cell, outcome: Outcome | None, run: Path) -> Ran | LeftOut:
    if outcome is None:
        if not (run / RECIPE).is_file():
            return LeftOut(cell, "waiting", "")
        return LeftOut(cell, "unfinished", _reached(cell, run))
    if not outcome.finished:
        return LeftOut(cell, "failed", outcome.reason)
    try:
        return Ran(cell, outcome, read_story(run), facts.read(run))
    except ReportError as error:
        return LeftOut(cell, "finished, but cannot be read", str(error))


def _reached(cell: Cell, run: Path) -> str:
    """How far a run has come that has not ended."""
    step = max(
        (entry["step"] for entry in entries(run / METRICS) if "stage_step" in entry), default=0
    )
    return f"at step {step:,}" + (f" of about {cell.steps:,}" if cell.steps else "")
