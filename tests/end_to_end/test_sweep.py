"""Sweeps as a user starts them: a cell that fails costs no other; a kill costs nothing finished."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmcore.kit.json_lines import entries
from mmcore.sweeps.folder import read
from mmcore.sweeps.toml_text import toml_text

SWEEP = """
format = 1
name = "mini"
recipe = "mini.toml"
seeds = [1, 2]
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
"""

TIMES = ("second", "time/", "share", "memory/", "mfu", "flops")
"""What metrics may differ in: how long it took, and what else a machine had to do."""


@pytest.fixture
def place(workplace):
    (workplace.folder / "mini-sweep.toml").write_text(SWEEP)
    return workplace


def learned(folder: Path) -> dict[str, object]:
    """All that a sweep's cells measured and were asked, but for times."""
    sweep = read(folder)
    assert all(outcome.finished for outcome in sweep.outcomes.values())
    assert set(sweep.outcomes) == {cell.id for cell in sweep.sweep.cells}
    found = {}
    for cell in sweep.sweep.cells:
        steps = [
            {key: one for key, one in line.items() if not any(word in key for word in TIMES)}
            for line in entries(sweep.run(cell.id) / "metrics.jsonl")
        ]
        asked = [
            {key: one for key, one in line.items() if "second" not in key}
            for line in entries(sweep.run(cell.id) / "evaluations.jsonl")
        ]
        found[cell.id] = steps, asked
    return found


def test_a_cell_that_fails_costs_no_other_cell(place):
    bad = ["stages.captions.optimizer.lr=1e35", "guards.max_skipped_in_a_row=1"]
    table = toml_text(
        [{"name": "rates", "points": [{"label": "bad", "set": bad}, {"label": "good", "set": []}]}]
    )
    words = [
        "sweep", "mini-sweep.toml", "--parallel", "2", "--set", f"axes={table}",
        "--set", "seeds=[1]", "--set", "evaluations=[]", "--set", "stages.*.steps=3",
    ]  # fmt: skip
    output = place.typed(*words, fails=True)
    sweep = read(place.folder / "sweeps" / "mini")
    assert sweep.outcomes["rates=good,seed=1"].finished, output
    bad = sweep.outcomes["rates=bad,seed=1"]
    assert not bad.finished
    assert "not finite" in bad.reason
    assert bad.environment["threads"] == 1
    assert "1 failed" in output
    kept = sweep.run("rates=good,seed=1") / "checkpoints"
    assert [path.name for path in kept.glob("step-*")] == ["step-00000006"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_sweep_killed_in_the_middle_repeats_nothing_and_learns_the_same(place):
    place.typed("sweep", "mini-sweep.toml", "--set", "name=whole")
    whole = learned(place.folder / "sweeps" / "whole")
    assert len(whole) == 4

    folder = place.folder / "sweeps" / "killed"
    killed = Victim(place, folder)
    killed.until(lambda: steps(folder, "queries=2,seed=2") >= 3)
    killed.kill()
    before = read(folder)
    assert set(before.outcomes) == {"queries=2,seed=1"}, "killed within the second cell"
    finished = stamps(before.run("queries=2,seed=1"))

    output = place.typed("sweep", "mini-sweep.toml", "--set", "name=killed")
    assert "1 ended before" in output
    assert learned(folder) == whole
    after = read(folder)
    assert stamps(after.run("queries=2,seed=1")) == finished, "what had finished is as it was"
    assert after.outcomes["queries=2,seed=2"].environment["starts"] == 2
    assert after.outcomes["queries=4,seed=1"].environment["starts"] == 1
    assert len(list(entries(folder / "outcomes.jsonl"))) == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_stops_the_cell_at_a_checkpoint_and_the_sweep_goes_on(place):
    folder = place.folder / "sweeps" / "killed"
    asked = Victim(place, folder, "--set", "seeds=[1]", "--set", "stages.captions.steps=300")
    asked.until(lambda: steps(folder, "queries=2,seed=1") >= 3)
    asked.process.send_signal(signal.SIGINT)
    output, _ = asked.process.communicate()
    assert asked.process.returncode == 130, output
    assert "queries=2,seed=1 stopped" in output
    assert read(folder).outcomes == {}
    reached = json.loads(next((folder / "cells").glob("*/checkpoints/*/progress.json")).read_text())
    assert reached["step"] == steps(folder, "queries=2,seed=1")


def steps(folder: Path, cell: str) -> int:
    path = folder / "cells" / cell / "metrics.jsonl"
    return max((one["step"] for one in entries(path) if "loss" in one), default=0)


def stamps(run: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


class Victim:
    """A sweep that is started to be killed, with the processes of its cells."""

    def __init__(self, place, folder, *words):
        self._folder = folder
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mmcore",
                "sweep",
                "mini-sweep.toml",
                "--set",
                f"name={folder.name}",
                *words,
            ],
            cwd=place.folder,
            env=place.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, reached):
        while not reached():
            assert self.process.poll() is None, self.process.communicate()[0]
            time.sleep(0.01)

    def kill(self):
        listed = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        for pid in [self.process.pid, *map(int, listed.stdout.split())]:
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()
