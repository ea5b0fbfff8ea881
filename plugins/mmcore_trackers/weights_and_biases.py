"""Curves at Weights & Biases: every value over the steps of the run."""

from __future__ import annotations

import os
import secrets
import tomllib
from pathlib import Path
from typing import Any

import wandb

from mmcore.interfaces import Evaluation, Incident, RunInfo, StepReport, ValidationReport
from mmcore_registry import hookimpl
from mmcore_trackers.spec import WandbSpec

ID_FILE = "wandb-id"
"""Under which id the service knows the run, in the run folder."""


class WandbTracker:
    """Sends what a run tells; the x-axis is the run's own step.

    The service cannot take points back: after a resume, steps that are made again have two.
    """

    def __init__(self, spec: WandbSpec, folder: Path) -> None:
        self._spec, self._folder = spec, folder
        self._run: Any = None

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        spec = self._spec
        self._run = wandb.init(
            project=spec.project,
            entity=spec.entity or None,
            group=spec.group or None,
            name=run.name,
            id=self._id(),
            resume="allow",
            dir=str(self._folder),
            config=tomllib.loads(run.recipe),
            mode=os.environ.get("WANDB_MODE", spec.mode),  # type: ignore[arg-type]  # it checks
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        if report.step % self._spec.every_steps == 0:
            self._log(report.step, dict(report.values))

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        self._log(report.step, dict(report.values))

    @hookimpl
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        scores = {f"{evaluation.task}/{one.kind}": one.accuracy for one in evaluation.scores}
        self._log(evaluation.step, scores)

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        """A point where it was, and an alert, which the account may have sent by mail."""
        self._log(incident.step, {f"incident/{incident.kind}": 1.0})
        self._run.alert(f"{incident.kind} at step {incident.step}", incident.detail, level="WARN")

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        if self._run is not None:
            self._run.finish(exit_code=int(status == "failed"))
            self._run = None

    def _log(self, step: int, values: dict[str, float]) -> None:
        assert self._run is not None, "the run has not started"
        self._run.log({"step": step, **values})

    def _id(self) -> str:
        """The same for every start in this folder."""
        path = self._folder / ID_FILE
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{secrets.token_hex(4)}\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()
