"""Trackers hear what they ask for, on rank 0 only, and a misspelt hook is refused."""

from __future__ import annotations

import pluggy
import pytest

from mmcore.interfaces import StepReport, World
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


def test_a_misspelt_hook_is_refused_by_name() -> None:
    class Misspelt:
        @hookimpl
        def mmcore_step_ends(self, report: StepReport) -> None: ...

    with pytest.raises(pluggy.PluginValidationError, match="mmcore_step_ends"):
        Hooks([Misspelt()], World())


def test_every_hook_can_be_called() -> None:
    specified = {name.removeprefix("mmcore_") for name in vars(RunHooks) if "mmcore_" in name}
    assert specified <= set(vars(Hooks))
