"""The trace of some steps: where it lies, what is in it, and when there is none."""

from __future__ import annotations

import gzip
import json

import torch

from mmcore.interfaces import Incident, RunInfo, StageInfo, StepReport, World
from mmcore.training.hooks import Hooks
from mmcore.training.profiling import StepProfiler


def run(folder, stages: list[int], steps: int) -> list[str]:
    said: list[str] = []
    tracker, number = StepProfiler(steps, said.append), 0
    tracker.mmcore_run_start(RunInfo("run", folder, 0, ""))
    for length in stages:
        stage = StageInfo("s", 1, 1, ())
        tracker.mmcore_stage_start(stage)
        for _ in range(length):
            number += 1
            torch.ones(8, 8) @ torch.ones(8, 8)
            tracker.mmcore_step_end(StepReport("s", number, number, 0.0, {}))
        tracker.mmcore_stage_end(stage)
    tracker.mmcore_run_end("finished")
    return said


def test_steps_after_warm_up_are_traced_once(tmp_path) -> None:
    (said,) = run(tmp_path, [3, 9], steps=2)
    path = tmp_path / "profile" / "steps-6-7.json.gz"
    assert str(path) in said
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert sum(event.get("name") == "aten::mm" for event in events) == 2
    assert list((tmp_path / "profile").iterdir()) == [path]


def test_a_run_that_is_too_short_says_so(tmp_path) -> None:
    (said,) = run(tmp_path, [3, 4], steps=3)
    assert "no trace" in said
    assert not (tmp_path / "profile").exists()


def test_a_run_that_is_set_back_has_its_trace_in_its_next_life(tmp_path) -> None:
    said: list[str] = []
    hooks = Hooks([StepProfiler(2, said.append)], World())
    for steps, back in ((3, True), (4, False)):
        hooks.run_start(RunInfo("run", tmp_path, 0, ""))
        hooks.stage_start(StageInfo("s", 1, 1, ()))
        for number in range(1, steps + 1):
            hooks.step_end(StepReport("s", number, number, 0.0, {}))
        if back:
            hooks.incident(Incident(step=0, kind="rolled-back", detail="a spike"))
        hooks.run_end("stopped")
    (told,) = said
    assert "trace of steps 3 to 4" in told
