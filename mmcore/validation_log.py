"""What validations found, in `validations.jsonl`, and the best checkpoint of every stage."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from mmcore.interfaces import RunInfo, ValidationReport
from mmcore.run_folder import CHECKPOINTS, write_whole
from mmcore_registry import hookimpl

FILE = "validations.jsonl"
BEST = "best-{}"
"""The best checkpoint of a stage, beside the others."""


class ValidationLog:
    """A tracker that every run has: a line of JSON per validation. On resume it drops what the
    run is about to do again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        if self._path.exists():
            kept = [line for line in _lines(self._path) if line["step"] <= run.step]
            write_whole(self._path, "".join(f"{json.dumps(line)}\n" for line in kept))

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        line = {
            "stage": report.stage,
            "step": report.step,
            "best": report.best,
            "values": dict(report.values),
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def best_value(folder: Path, stage: str, name: str) -> float | None:
    """The value of ``name`` at the latest validation that was the stage's best; None: none was.

    Args:
        folder: of the run.
        name: such as ``validation/loss``.
    """
    path = folder / FILE
    lines = _lines(path) if path.exists() else []
    found = [one for one in lines if one["stage"] == stage and one["best"]]
    return found[-1]["values"].get(name) if found else None


def _lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines; what a killed process left torn is dropped."""
    *whole, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


class BestKeeper:
    """A tracker that every run has: once the checkpoint of a best validation is complete, it is
    kept beside the others as ``best-STAGE``. Files are linked, not copied, where the disk can."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / CHECKPOINTS
        self._wanted: dict[int, str] = {}

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
    """Make ``place`` the same checkpoint; killed at any moment, the old one or the new is whole."""
    beside = place.with_name(f".writing-{place.name}")
    old = place.with_name(f".writing-old-{place.name}")
    for left_behind in (beside, old):
        if left_behind.exists():
            shutil.rmtree(left_behind)
    shutil.copytree(checkpoint, beside, copy_function=_link)
    if place.exists():
        place.rename(old)
    beside.rename(place)
    if old.exists():
        shutil.rmtree(old)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copy2(source, target)
