"""Files of JSON lines that a killed run leaves readable and a resumed run continues cleanly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from mmcore.interfaces import Evaluation, RunInfo, StepReport
from mmcore_registry import hookimpl

METRICS, REJECTED = "metrics.jsonl", "rejected.jsonl"


class JsonLinesTracker:
    """Writes a line per step and per rejected row; every line is on its way to disk at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in (METRICS, REJECTED):
            drop_after(self._folder / name, run.step)
            self._files[name] = (self._folder / name).open("a", encoding="utf-8")

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        told = {"step": report.step, "stage": report.stage, "stage_step": report.stage_step}
        self._write(METRICS, told | dict(report.values))

    @hookimpl
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        scores = {f"accuracy/{one.kind}": one.accuracy for one in evaluation.scores}
        told = {"step": evaluation.step, "task": evaluation.task, "after": evaluation.after}
        self._write(METRICS, told | scores)

    @hookimpl
    def mmcore_sample_rejected(self, step: int, key: str, reason: str, detail: str) -> None:
        self._write(REJECTED, {"step": step, "key": key, "reason": reason, "detail": detail})

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, name: str, line: Mapping[str, object]) -> None:
        file = self._files[name]
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()


def drop_after(path: Path, step: int) -> None:
    """Keep the lines of steps up to ``step``; drop later ones, and a line that was torn."""
    if not path.exists():
        return
    kept = path.with_name(f".{path.name}.kept")
    with path.open("rb") as old, kept.open("wb") as new:
        for line in old:
            if 0 <= _step_of(line) <= step:
                new.write(line)
        new.flush()
        os.fsync(new.fileno())
    kept.replace(path)


def _step_of(line: bytes) -> int:
    """The step that a line is about, or -1 if it was cut off while it was written."""
    if not line.endswith(b"\n"):
        return -1
    try:
        entry: Any = json.loads(line)
    except ValueError:
        return -1
    step = entry.get("step") if isinstance(entry, dict) else None
    return step if isinstance(step, int) else -1
