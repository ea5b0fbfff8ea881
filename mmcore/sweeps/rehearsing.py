"""Rehearse every point of a sweep: all stages of its recipe, small and on made-up rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from mmcore.run_folder.folder import locked, write_whole
from mmcore.sweeps.load import SweepFile
from mmcore.sweeps.machine import threads_of
from mmcore.sweeps.pool import Ended, Job, Pool
from mmcore.sweeps.recipes import CellRecipe

FOLDER = "rehearsal"
"""In the sweep's folder: the recipes that are rehearsed, and what the rehearsals said."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@attrs.frozen(kw_only=True)
class Rehearsed:
    """How a rehearsal ended: finished, failed or stopped."""

    id: str
    how: str
    seconds: float
    reason: str
    log: Path


def rehearse_cells(
    file: SweepFile,
    cells: Sequence[CellRecipe],
    root: Path,
    *,
    thin: bool,
    parallel: int,
    procs: int,
    only: str | None,
    tell: Callable[[Rehearsed, int, int], None],
) -> list[Rehearsed]:
    """Rehearse the first seed of every point; a failure does not keep the others from it.

    Args:
        root: where sweeps lie.
        only: a form of ids, ``*`` standing for anything.
        tell: is told of each when it has ended, with its number and how many there are.

    Raises:
        ValueError: ``only`` is the form of none.
        RunFolderError: another sweep of this name goes on.
    """
    seed = file.table.seeds[0]
    firsts = [
        cell
        for cell in cells
        if cell.combination.seed == seed and (only is None or fnmatchcase(cell.id, only))
    ]
    if not firsts:
        raise ValueError(f"--only {only}: no cell with seed {seed} is called so")
    sweep = root / file.table.name
    folder = sweep / FOLDER
    threads = str(threads_of(parallel, procs))
    with locked(sweep):
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [_job(folder, cell, sweep.name, thin=thin, procs=procs) for cell in firsts]
        watcher = _Teller(len(jobs), tell)
        Pool(parallel, lambda slot: {"OMP_NUM_THREADS": threads}, watcher).run(jobs)
    return watcher.found


def _job(folder: Path, cell: CellRecipe, sweep: str, *, thin: bool, procs: int) -> Job:
    path, log = folder / f"{cell.id}.toml", folder / f"{cell.id}.txt"
    # A rehearsal lies in runs/ under the recipe's name, which all cells share.
    name = _UNSAFE.sub("-", f"{sweep}.{cell.id}")
    write_whole(path, cell.text)
    log.unlink(missing_ok=True)
    words = ["run", str(path), "--rehearse", "--set", f"name={name}", "--procs", str(procs)]
    return Job(id=cell.id, words=(*words, *(["--thin"] if thin else [])), log=log, done=_always)


def _always() -> bool:
    return True


class _Teller:
    """A watcher that only passes on how jobs ended."""

    def __init__(self, jobs: int, tell: Callable[[Rehearsed, int, int], None]) -> None:
        self._jobs, self._tell = jobs, tell
        self.found: list[Rehearsed] = []

    def started(self, job: Job) -> None:
        return

    def looked(self) -> None:
        return

    def ended(self, ended: Ended) -> None:
        one = Rehearsed(
            id=ended.job.id,
            how=ended.how,
            seconds=ended.seconds,
            reason=ended.reason,
            log=ended.job.log,
        )
        self.found.append(one)
        self._tell(one, len(self.found), self._jobs)
