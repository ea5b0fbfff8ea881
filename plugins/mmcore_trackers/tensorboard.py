"""Curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from mmcore.interfaces import Evaluation, Incident, RunInfo, StepReport, ValidationReport
from mmcore_registry import hookimpl


class TensorBoardTracker:
    """Writes every measured value as a curve over the steps of the run."""

    def __init__(self, folder: Path, every_steps: int) -> None:
        self._folder = folder / "tensorboard"
        self._every_steps = every_steps
        self._writer: SummaryWriter | None = None

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        # Points of an earlier attempt beyond this step are hidden by TensorBoard itself.
        self._writer = SummaryWriter(str(self._folder), purge_step=run.step + 1)
        self._writer.add_text("recipe", f"```toml\n{run.recipe}\n```", run.step)

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        assert self._writer is not None, "the run has not started"
        if report.step % self._every_steps:
            return
        for name, value in report.values.items():
            self._writer.add_scalar(name, value, report.step)

    @hookimpl
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        assert self._writer is not None, "the run has not started"
        for score in evaluation.scores:
            self._writer.add_scalar(
                f"{evaluation.task}/{score.kind}", score.accuracy, evaluation.step
            )

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        assert self._writer is not None, "the run has not started"
        for name, value in report.values.items():
            self._writer.add_scalar(name, value, report.step)

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        """A point where it was, and the words under Text."""
        assert self._writer is not None, "the run has not started"
        self._writer.add_scalar(f"incident/{incident.kind}", 1.0, incident.step)
        self._writer.add_text(f"incident/{incident.kind}", incident.detail, incident.step)

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
