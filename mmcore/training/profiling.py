"""A trace of some steps of a run, as torch's profiler sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import profiler

from mmcore.interfaces import Incident, RunInfo, StageInfo, StepReport
from mmcore_registry import hookimpl

WARM_UP = 2
"""Steps of a stage before the trace: the first ones compile, allocate and fill queues."""

FOLDER = "profile"


class StepProfiler:
    """A tracker that traces ``steps`` steps of the first stage that has as many, after warm-up.

    Args:
        steps: how many are traced.
        say: told where the trace is.
    """

    def __init__(self, steps: int, say: Callable[[str], None]) -> None:
        self._steps, self._say = steps, say
        self._folder = Path()
        self._profile: profiler.profile | None = None
        self._first = 0
        self._done = self._set_back = False

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        self._folder = run.folder / FOLDER
        self._set_back = False

    @hookimpl
    def mmcore_stage_start(self, stage: StageInfo) -> None:
        self._made = 0

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        self._made += 1
        if self._done:
            return
        if self._profile is None and self._made == WARM_UP:
            self._first = report.step + 1
            self._profile = _profile()
            self._profile.start()
        elif self._profile is not None and report.step - self._first + 1 == self._steps:
            self._write(report.step)

    @hookimpl
    def mmcore_stage_end(self, stage: StageInfo) -> None:
        self._drop()

    @hookimpl
    def mmcore_incident(self, incident: Incident) -> None:
        self._set_back = incident.kind == "rolled-back"

    @hookimpl
    def mmcore_run_end(self, status: str) -> None:
        self._drop()
        if not self._done and not self._set_back:  # which starts again
            self._say(
                f"no trace was written: no stage made {WARM_UP} steps of warm-up and "
                f"{self._steps} more"
            )

    def _write(self, last: int) -> None:
        assert self._profile is not None
        self._profile.stop()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"steps-{self._first}-{last}.json.gz"
        self._profile.export_chrome_trace(str(path))
        self._profile, self._done = None, True
        self._say(f"trace of steps {self._first} to {last}: {path} (open it at ui.perfetto.dev)")

    def _drop(self) -> None:
        """A trace that a stage's end cut short is thrown away."""
        if self._profile is not None:
            self._profile.stop()
            self._profile = None


def _profile() -> profiler.profile:
    kinds = [profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(profiler.ProfilerActivity.CUDA)
    return profiler.profile(activities=kinds, record_shapes=True, acc_events=True)
