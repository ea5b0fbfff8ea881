"""What a tracker may hear of a run: the hooks, and who calls them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pluggy

from mmcore.interfaces import (
    Evaluation,
    Incident,
    RunInfo,
    StageInfo,
    StepReport,
    Tracker,
    ValidationReport,
    World,
)
from mmcore_registry import PROJECT, hookspec

Status = Literal["finished", "stopped", "failed"]


class RunHooks:
    """Called on rank 0 only. A tracker implements any of them, with any of their arguments."""

    @hookspec
    def mmcore_run_start(self, run: RunInfo) -> None:
        """The run, or a resumed run, is about to train."""

    @hookspec
    def mmcore_activity(self, text: str) -> None:
        """Something begins that takes a while and is no training, such as making pictures."""

    @hookspec
    def mmcore_stage_start(self, stage: StageInfo) -> None:
        """A stage is about to train, or to go on."""

    @hookspec
    def mmcore_stage_end(self, stage: StageInfo) -> None:
        """A stage's budget is spent, and its last checkpoint written."""

    @hookspec
    def mmcore_step_end(self, report: StepReport) -> None:
        """A step was made."""

    @hookspec
    def mmcore_validated(self, report: ValidationReport) -> None:
        """The model was held to the held-out rows, after the step that was told last."""

    @hookspec
    def mmcore_sample_rejected(self, step: int, key: str, reason: str, detail: str) -> None:
        """A row could not be used; found while the data of ``step`` was prepared, on any rank."""

    @hookspec
    def mmcore_incident(self, incident: Incident) -> None:
        """Something was wrong with a step: nothing was learned from it, or its loss leapt."""

    @hookspec
    def mmcore_checkpoint_saved(self, path: Path, step: int) -> None:
        """A checkpoint is complete on disk."""

    @hookspec
    def mmcore_evaluated(self, evaluation: Evaluation) -> None:
        """The model was asked the questions of a task."""

    @hookspec
    def mmcore_run_end(self, status: Status) -> None:
        """The run is over: it finished, was asked to stop, or failed."""


class Hooks:
    """Tells the trackers of a run what happens, on rank 0; on other ranks nobody listens."""

    def __init__(
        self, trackers: Iterable[Tracker], world: World, guests: Iterable[Tracker] = ()
    ) -> None:
        """
        Args:
            trackers: what one of them raises ends the run; the last is told first.
            guests: told after all trackers. Once the run has started, what one of them raises is
                a warning, the first time: no service that is down ends a run.

        Raises:
            pluggy.PluginValidationError: a tracker has a hook that does not exist, or one with
                an argument that does not exist; the message names both.
        """
        self._hook = _caller(trackers if world.is_main else ())
        self._guests = [_Guest(one) for one in guests] if world.is_main else []

    def run_start(self, run: RunInfo) -> None:
        self._hook.mmcore_run_start(run=run)
        for guest in self._guests:
            guest.hook.mmcore_run_start(run=run)

    def activity(self, text: str) -> None:
        self._tell("mmcore_activity", text=text)

    def stage_start(self, stage: StageInfo) -> None:
        self._tell("mmcore_stage_start", stage=stage)

    def stage_end(self, stage: StageInfo) -> None:
        self._tell("mmcore_stage_end", stage=stage)

    def step_end(self, report: StepReport) -> None:
        self._tell("mmcore_step_end", report=report)

    def validated(self, report: ValidationReport) -> None:
        self._tell("mmcore_validated", report=report)

    def sample_rejected(self, step: int, key: str, reason: str, detail: str) -> None:
        self._tell("mmcore_sample_rejected", step=step, key=key, reason=reason, detail=detail)

    def incident(self, incident: Incident) -> None:
        self._tell("mmcore_incident", incident=incident)

    def checkpoint_saved(self, path: Path, step: int) -> None:
        self._tell("mmcore_checkpoint_saved", path=path, step=step)

    def evaluated(self, evaluation: Evaluation) -> None:
        self._tell("mmcore_evaluated", evaluation=evaluation)

    def run_end(self, status: Status) -> None:
        self._tell("mmcore_run_end", status=status)

    def _tell(self, name: str, **what: object) -> None:
        getattr(self._hook, name)(**what)
        for guest in self._guests:
            guest.tell(name, what)


class _Guest:
    """A tracker whose errors are its own."""

    def __init__(self, tracker: Tracker) -> None:
        self.hook = _caller([tracker])
        self._name = f"{type(tracker).__module__}.{type(tracker).__qualname__}"
        self._failed = False

    def tell(self, name: str, what: Mapping[str, object]) -> None:
        try:
            getattr(self.hook, name)(**what)
        except Exception as error:
            if self._failed:
                return
            self._failed = True
            warnings.warn(
                f"the tracker {self._name} failed in {name} ({type(error).__name__}: {error}); "
                "the run goes on, and further errors of this tracker are not told",
                stacklevel=2,
            )


def _caller(trackers: Iterable[Tracker]) -> pluggy.HookRelay:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(RunHooks)
    for tracker in trackers:
        manager.register(tracker)
    manager.check_pending()
    return manager.hook
