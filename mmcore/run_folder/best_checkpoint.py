"""The best checkpoint of every stage, kept beside the others, whatever ends the process."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from mmcore.interfaces import RunInfo, ValidationReport
from mmcore.run_folder.folder import CHECKPOINTS
from mmcore.run_folder.validation_log import read
from mmcore.training.checkpoint_format import (
    MANIFEST,
    WRITING,
    CheckpointError,
    latest,
    sync_folder,
)
from mmcore_registry import hookimpl

BEST = "best-{}"
"""Its name, of a stage."""


class BestKeeper:
    """A tracker that every run has: once the checkpoint of a best validation is complete, it is
    kept beside the others as ``best-STAGE``. Files are linked, not copied, where the disk can."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._root = folder, folder / CHECKPOINTS
        self._wanted: dict[int, str] = {}
        self._owed: tuple[Path, Path] | None = None

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        """See what a process was killed before it kept: a checkpoint that the run goes on from is
        complete, and may be the best. It is kept once its files were found to be whole."""
        newest = latest(self._root)
        found = [one for one in read(self._folder) if one["best"] and one["step"] == run.step]
        if newest is not None and found:
            self._owed = newest, self._root / BEST.format(found[-1]["stage"])

    @hookimpl
    def mmcore_stage_start(self) -> None:
        self._keep_owed()

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        if status != "failed":  # no stage started: the run was finished before
            self._keep_owed()

    def _keep_owed(self) -> None:
        owed, self._owed = self._owed, None
        if owed is not None:
            keep(*owed)

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        if report.best:
            self._wanted[report.step] = report.stage

    @hookimpl
    def mmcore_checkpoint_saved(self, path: Path, step: int) -> None:
        stage = self._wanted.pop(step, None)
        if stage is not None:
            keep(path, self._root / BEST.format(stage))


def keep(checkpoint: Path, place: Path) -> None:
    """Make ``place`` the same checkpoint, which may go afterwards.

    ``place`` is a link to a folder beside it, and changes in one rename: whoever looks finds the
    old checkpoint or the new one, whole, also where this is killed. On a disk that has no such
    links it is the folder itself, and missing for a moment.

    Raises:
        CheckpointError: the disk is full, or cannot be written.
    """
    try:
        if not _same(checkpoint, place):
            _point(place, _copied(checkpoint, place))
    except OSError as error:
        raise CheckpointError(f"{place} was not kept: {error}") from error


def _same(one: Path, other: Path) -> bool:
    """A manifest has the digest of every file."""
    return (other / MANIFEST).exists() and (
        (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    )


def _copied(checkpoint: Path, place: Path) -> Path:
    """The checkpoint under a name that was not there before; complete, or not there."""
    root = place.parent
    target, number = root / f"{place.name}.{checkpoint.name}", 0
    while target.exists():
        number += 1
        target = root / f"{place.name}.{checkpoint.name}.{number}"
    beside = root / f"{WRITING}{target.name}"
    _clear(beside)
    shutil.copytree(checkpoint, beside, copy_function=_linked)
    beside.rename(target)
    sync_folder(root)
    return target


def _point(place: Path, target: Path) -> None:
    """Make the target what is found at ``place``, and delete what was."""
    link = place.with_name(f".linking-{place.name}")
    _clear(link)
    try:
        link.symlink_to(target.name, target_is_directory=True)
    except OSError:  # a disk without links
        _clear(place)
        target.rename(place)
    else:
        if not place.is_symlink():
            _clear(place)
        link.rename(place)
    sync_folder(place.parent)
    older = re.compile(re.escape(place.name) + r"\.step-\d{8}(\.\d+)*")
    for folder in place.parent.iterdir():
        if older.fullmatch(folder.name) and folder != target:
            shutil.rmtree(folder)


def _clear(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copy2(source, target)
