"""What validations found, in `validations.jsonl`: for the report, and to go on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmcore.interfaces import RunInfo, ValidationReport
from mmcore.kit.json_lines import entries, keep
from mmcore_registry import hookimpl

FILE = "validations.jsonl"


class ValidationLog:
    """A tracker that every run has: a line of JSON per validation. On resume it drops what the
    run is about to do again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        keep(self._path, until=run.step)

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
    found = [one for one in read(folder) if one["stage"] == stage and one["best"]]
    return found[-1]["values"].get(name) if found else None


def read(folder: Path) -> list[dict[str, Any]]:
    """What the validations of a run found, oldest first."""
    return list(entries(folder / FILE))
