"""Run what is left of a sweep, and write down how every cell ended."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from mmcore.run_folder.folder import ENVIRONMENT, STAGE_FILE
from mmcore.sweeps.entering import recipe_path
from mmcore.sweeps.folder import LOGS, OUTCOMES, Cell, Outcome, SweepFolder, run_folder
from mmcore.sweeps.machine import cores, cpu_name, devices_of
from mmcore.sweeps.pool import Ended, Job, Pool, Watcher
from mmcore.sweeps.pruning import prune
from mmcore.sweeps.recipes import CellRecipe
from mmcore.sweeps.schema import Keep
from mmcore_registry import nearest


@attrs.frozen(kw_only=True)
class How:
    """How cells are run.

    Attributes:
        parallel: cells at a time.
        procs: processes of a cell.
        threads: of every process.
        keep: checkpoints that stay of a cell that has finished.
        devices: GPUs of this machine, as CUDA_VISIBLE_DEVICES calls them.
    """

    parallel: int = 1
    procs: int = 1
    threads: int = 1
    keep: Keep = "last"
    devices: tuple[str, ...] = ()

    def environment(self, slot: int) -> Mapping[str, str]:
        """Variables of the cell that runs in this slot."""
        own = devices_of(slot, self.procs, self.parallel, self.devices)
        seen = {"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {}
        return {"OMP_NUM_THREADS": str(self.threads), **seen}


def chosen(folder: SweepFolder, only: str | None) -> tuple[Cell, ...]:
    """The cells whose id has this form, ``*`` standing for anything; all of them without one.

    Raises:
        ValueError: there is none.
    """
    cells = folder.sweep.cells
    if only is None:
        return cells
    found = tuple(cell for cell in cells if fnmatchcase(cell.id, only))
    if not found:
        close = nearest(only, [cell.id for cell in cells])
        raise ValueError(
            f"--only {only}: no cell is called so; did you mean {close or cells[0].id!r}, or "
            f"'*{only.strip('*')}*'?"
        )
    return found


def left(folder: SweepFolder, cells: Sequence[Cell], *, retry_failed: bool) -> tuple[Cell, ...]:
    """Those that are to be run: not finished, and not failed unless they are to be tried again."""

    def is_left(cell: Cell) -> bool:
        outcome = folder.outcomes.get(cell.id)
        return outcome is None or (retry_failed and not outcome.finished)

    return tuple(filter(is_left, cells))


def go(
    folder: SweepFolder,
    cells: Sequence[Cell],
    recipes: Sequence[CellRecipe],
    how: How,
    watcher: Watcher,
) -> bool:
    """Run these cells; False where it was told to stop before they had all ended.

    Args:
        recipes: of all cells of the sweep.
        watcher: is told what happens.
    """
    for done in folder.outcomes.values():
        if done.finished:  # one may have been killed after it had ended, and before this
            prune(folder.run(done.id), how.keep)
    last = {cell.id: cell.recipe.stages[-1].name for cell in recipes}
    jobs = [_job(folder.folder, cell.id, last[cell.id], how) for cell in cells]
    pool = Pool(how.parallel, how.environment, _Recorder(folder.folder, how, watcher))
    return pool.run(jobs)


def _job(folder: Path, cell: str, last_stage: str, how: How) -> Job:
    run = run_folder(folder, cell)
    words = ("run", str(recipe_path(folder, cell)), "--folder", str(run))
    several = ("--procs", str(how.procs)) if how.procs > 1 else ()
    ends: Callable[[], bool] = (run / STAGE_FILE.format(last_stage)).exists
    return Job(id=cell, words=(*words, *several), log=folder / LOGS / f"{cell}.txt", done=ends)


class _Recorder:
    """Writes outcomes down before anybody else is told, and clears up behind finished cells."""

    def __init__(self, folder: Path, how: How, watcher: Watcher) -> None:
        self._folder, self._how, self._watcher = folder, how, watcher

    def started(self, job: Job) -> None:
        self._watcher.started(job)

    def looked(self) -> None:
        self._watcher.looked()

    def ended(self, ended: Ended) -> None:
        if ended.how != "stopped":
            append(self._folder, self._outcome(ended))
        if ended.how == "finished":
            prune(run_folder(self._folder, ended.job.id), self._how.keep)
        self._watcher.ended(ended)

    def _outcome(self, ended: Ended) -> Outcome:
        run = run_folder(self._folder, ended.job.id)
        return Outcome(
            id=ended.job.id,
            outcome="finished" if ended.how == "finished" else "failed",
            seconds=round(ended.seconds, 3),
            reason=ended.reason,
            environment={
                "cpu": cpu_name(),
                "cores": cores(),
                "threads": self._how.threads,
                "parallel": self._how.parallel,
                "starts": _starts(run / ENVIRONMENT),
            },
        )


def append(folder: Path, outcome: Outcome) -> None:
    """A line of ``outcomes.jsonl``, on the disk when this returns."""
    line = json.dumps(attrs.asdict(outcome), ensure_ascii=False) + "\n"
    with (folder / OUTCOMES).open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _starts(path: Path) -> int:
    """How often a run was started; 0 of one that failed before it could say so."""
    return len(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else 0
