"""Trackers hear what they ask for, on rank 0 only, and a misspelt hook is refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import pluggy
import pytest

from mmcore.interfaces import RunInfo, StepReport, World
from mmcore.training.hooks import Hooks, RunHooks
from mmcore_registry import hookimpl

REPORT = StepReport(stage="s", step=1, stage_step=1, progress=0.5, values={"loss": 2.0})


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        self.heard.append(report)

    @hookimpl
    def mmcore_sample_rejected(self, key: str, reason: str) -> None:
        self.heard.append((key, reason))


def test_a_tracker_hears_what_it_asks_for() -> None:
    listener = Listener()
    hooks = Hooks([listener], World())
    hooks.step_end(REPORT)
    hooks.sample_rejected(1, "a:b:3", "image-missing", "no file")
    hooks.run_end("finished")
    assert listener.heard == [REPORT, ("a:b:3", "image-missing")]


def test_other_ranks_are_silent() -> None:
    listener = Listener()
    Hooks([listener], World(rank=1, size=2)).step_end(REPORT)
    assert listener.heard == []


class Broken:
    """A service that is down, from some moment on."""

    def __init__(self, heard: list[str], start: bool = True) -> None:
        self._heard, self._start = heard, start

    @hookimpl
    def mmcore_run_start(self, run: RunInfo) -> None:
        if not self._start:
            raise ConnectionError("no such account")

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        self._heard.append("asked")
        raise ConnectionError("no answer")


def test_a_guest_that_fails_is_told_once_and_costs_nobody_anything() -> None:
    asked: list[str] = []
    listener, other = Listener(), Listener()
    hooks = Hooks([listener], World(), guests=[Broken(asked), other])
    with pytest.warns(UserWarning, match=r"Broken failed in mmcore_step_end \(Conn.*no answer"):
        hooks.step_end(REPORT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hooks.step_end(REPORT)
    assert listener.heard == other.heard == [REPORT, REPORT]
    assert len(asked) == 2, "it may be up again"


def test_a_guest_that_cannot_start_is_an_error() -> None:
    hooks = Hooks([], World(), guests=[Broken([], start=False)])
    with pytest.raises(ConnectionError, match="no such account"):
        hooks.run_start(RunInfo("run", Path(), 0, ""))


def test_a_tracker_of_the_run_itself_that_fails_is_an_error() -> None:
    heard = Listener()
    with pytest.raises(ConnectionError):
        Hooks([Broken([]), heard], World()).step_end(REPORT)
    assert heard.heard == [REPORT], "the last one is told first"


def test_a_misspelt_hook_is_refused_by_name() -> None:
    class Misspelt:
        @hookimpl
        def mmcore_step_ends(self, report: StepReport) -> None: ...

    with pytest.raises(pluggy.PluginValidationError, match="mmcore_step_ends"):
        Hooks([Misspelt()], World())
    with pytest.raises(pluggy.PluginValidationError, match="mmcore_step_ends"):
        Hooks([], World(), guests=[Misspelt()])


def test_every_hook_can_be_called() -> None:
    specified = {name.removeprefix("mmcore_") for name in vars(RunHooks) if "mmcore_" in name}
    assert specified <= set(vars(Hooks))
