"""A file of JSON lines that a killed run leaves readable and a resumed run continues cleanly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from mmcore.interfaces import METRICS, Evaluation, Incident, RunInfo, StepReport, ValidationReport
from mmcore.kit.json_lines import keep
from mmcore_registry import hookimpl


class JsonLinesTracker:
    """Writes a line per step, validation, evaluation and incident; every line leaves the process at
    once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._file: TextIO | None = None

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        keep(self._path, until=run.step)
        self._file = self._path.open("a", encoding="utf-8")

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        told = {"step": report.step, "stage": report.stage, "stage_step": report.stage_step}
        self._write(told | dict(report.values))

    @hookimpl
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        scores = {f"accuracy/{one.kind}": one.accuracy for one in evaluation.scores}
        told = {"step": evaluation.step, "task": evaluation.task, "after": evaluation.after}
        self._write(told | scores)

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        self._write({"step": report.step, "stage": report.stage} | dict(report.values))

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        told = {"step": incident.step, "incident": incident.kind, "detail": incident.detail}
        self._write(told | {f"by_source/{name}": one for name, one in incident.sources.items()})

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: Mapping[str, object]) -> None:
        assert self._file is not None, "the run has not started"
        told = {key: _sayable(value) for key, value in line.items()}
        self._file.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()


def _sayable(value: object) -> object:
    """JSON has no word for a number that is not finite; null stands for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
