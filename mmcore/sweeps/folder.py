"""What lies in the folder of a sweep, as records: its cells, and what became of them.

``sweep.toml`` is the file of the sweep, resolved; ``cells.json`` its cells, written before any
runs; ``recipes/ID.toml`` the whole recipe of a cell, from which it is run; ``cells/ID/`` a run
folder like any other; ``logs/ID.txt`` what the run printed; ``outcomes.jsonl`` a line for every
time that a cell finished or failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from mmcore.kit.json_lines import entries

SWEEP = "sweep.toml"
CELLS = "cells.json"
OUTCOMES = "outcomes.jsonl"
RUNS = "cells"
RECIPES = "recipes"
LOGS = "logs"

FORMAT = 1
"""Of ``cells.json``."""


class SweepFolderError(ValueError):
    """The folder is none of a sweep, or not of this one; the message says why."""


@attrs.frozen
class Axis:
    """One thing that is varied, and the labels of its points in order."""

    name: str
    values: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Cell:
    """One run of the sweep.

    Attributes:
        id: names its folder: ``sampler=mlp,seed=1``.
        labels: the point on every axis, by the axis' name.
        seed: of its recipe.
        overrides: what its recipe has that the sweep's does not, as ``--set`` takes it, in order.
        tokens: length in packed positions; None where only the data can tell.
        flops: floating-point operations of all its steps with full packs; None likewise.
        trainable: parameters that learn in any stage.
        steps: of all stages; None likewise.
    """

    id: str
    labels: Mapping[str, str]
    seed: int
    overrides: tuple[str, ...] = ()
    tokens: float | None = None
    flops: float | None = None
    trainable: int | None = None
    steps: int | None = None

    @property
    def point(self) -> str:
        """The cell without its seed, as a person reads it; cells of one point are repetitions."""
        return ", ".join(f"{axis} {label}" for axis, label in self.labels.items())


@attrs.frozen(kw_only=True)
class Sweep:
    """What is swept.

    Attributes:
        name: of the sweep, and of its folder.
        axes: in the order of the file.
        seeds: of every point.
        measures: what a report should compare first, such as ``puzzle/reading``; empty leaves it
            to the report.
        cells: in the order in which they run.
        threads: of every cell; fp32 is reproducible bit for bit at one number of threads only.
            None where the sweep was planned and never run.
    """

    name: str
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    measures: tuple[str, ...] = ()
    cells: tuple[Cell, ...]
    threads: int | None = None


@attrs.frozen(kw_only=True)
class Outcome:
    """How a cell ended.

    Attributes:
        id: of the cell.
        outcome: finished or failed.
        seconds: of the start that ended so; one that was interrupted before took longer.
        reason: why it failed, in its own words; empty otherwise.
        environment: ``cpu`` (its name), ``cores``, ``threads`` (of the cell), ``parallel`` (cells
            at a time), ``starts`` (how often it was started; 1 where nothing interrupted it).
    """

    id: str
    outcome: Literal["finished", "failed"]
    seconds: float
    reason: str = ""
    environment: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def finished(self) -> bool:
        return self.outcome == "finished"


@attrs.frozen(kw_only=True)
class SweepFolder:
    """A sweep as it lies on the disk.

    Attributes:
        folder: where.
        sweep: what is swept.
        outcomes: the latest of every cell that ended, by its id. A cell that finished and whose
            run folder was removed since has none: it is run again.
    """

    folder: Path
    sweep: Sweep
    outcomes: Mapping[str, Outcome]

    def run(self, cell: str) -> Path:
        """The run folder of a cell; it may not be there yet."""
        return run_folder(self.folder, cell)


def run_folder(folder: Path, cell: str) -> Path:
    return folder / RUNS / cell


def is_sweep(folder: str | os.PathLike[str]) -> bool:
    """Whether a sweep lies there: a run folder has no ``cells.json``."""
    return (Path(folder) / CELLS).is_file()


def read(folder: str | os.PathLike[str]) -> SweepFolder:
    """The sweep at ``folder``, also while it goes on.

    Raises:
        SweepFolderError: none lies there, or it was written by another version.
    """
    path = Path(folder)
    if not is_sweep(path):
        raise SweepFolderError(f"{path} is no folder of a sweep: it has no {CELLS}")
    outcomes = {
        id_: one
        for id_, one in read_outcomes(path).items()
        if run_folder(path, id_).is_dir() or not one.finished
    }
    return SweepFolder(folder=path, sweep=read_cells(path), outcomes=outcomes)


def read_cells(folder: Path) -> Sweep:
    """What ``cells.json`` says.

    Raises:
        SweepFolderError: it is damaged, or of another format.
    """
    path = folder / CELLS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise SweepFolderError(
                f"{path} is of format {found['format']}, this mmcore reads format {FORMAT}"
            )
        return _sweep(found)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, SweepFolderError):
            raise
        raise SweepFolderError(f"{path} is damaged: {type(error).__name__}: {error}") from None


def cells_text(sweep: Sweep) -> str:
    """The text of ``cells.json``."""
    return json.dumps({"format": FORMAT, **attrs.asdict(sweep)}, indent=1) + "\n"


def read_outcomes(folder: Path) -> dict[str, Outcome]:
    """The latest outcome of every cell that ended, by id."""
    return {one["id"]: Outcome(**one) for one in entries(folder / OUTCOMES)}


def _sweep(found: Mapping[str, Any]) -> Sweep:
    return Sweep(
        name=found["name"],
        axes=tuple(Axis(axis["name"], tuple(axis["values"])) for axis in found["axes"]),
        seeds=tuple(found["seeds"]),
        measures=tuple(found["measures"]),
        cells=tuple(map(_cell, found["cells"])),
        threads=found.get("threads"),
    )


def _cell(found: Mapping[str, Any]) -> Cell:
    return Cell(**{**found, "overrides": tuple(found["overrides"])})
