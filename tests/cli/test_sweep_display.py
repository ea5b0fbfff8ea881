"""What a person sees of a sweep that runs: live on a terminal, lines elsewhere."""

import io
import json

import pytest
from rich.console import Console

from mmcore.cli import sweep_display
from mmcore.cli.sweep_display import SweepDisplay
from mmcore.sweeps.folder import Cell, Sweep, SweepFolder
from mmcore.sweeps.pool import Ended, Job


@pytest.fixture
def jobs(tmp_path):
    return {
        name: Job(id=name, words=(), log=tmp_path / "logs" / f"{name}.txt", done=lambda: True)
        for name in ("a=1,seed=1", "a=[2],seed=1", "a=3,seed=1")
    }


@pytest.fixture
def display(tmp_path, jobs, monkeypatch):
    """``display(terminal)`` -> the display, what it wrote, and its clock."""
    now = [100.0]
    monkeypatch.setattr(sweep_display.time, "monotonic", lambda: now[0])

    def shown(terminal):
        cells = tuple(Cell(id=name, labels={}, seed=1, tokens=100.0) for name in jobs)
        sweep = Sweep(name="s", axes=(), seeds=(1,), cells=cells)
        folder = SweepFolder(folder=tmp_path, sweep=sweep, outcomes={})
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=150, color_system=None)
        return SweepDisplay(console, folder, cells), output, now

    return shown


def reach(tmp_path, cell, steps):
    run = tmp_path / "cells" / cell
    run.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"step": n + 1, "stage": "one", "loss": 2.5, "tokens": 10.0})
        for n in range(steps)
    ]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_a_terminal_shows_what_runs_how_far_it_is_and_how_long_it_goes_on(display, jobs, tmp_path):
    shown, output, now = display(True)
    first, second, _ = jobs.values()
    with shown:
        shown.started(first)
        shown.started(second)
        reach(tmp_path, first.id, 2)
        now[0] += 10
        shown.looked()
        reach(tmp_path, first.id, 6)
        now[0] += 10
        output.seek(0)
        output.truncate()
        shown.looked()
    screen = output.getvalue()
    assert "a=1,seed=1" in screen
    assert "one step 6  loss 2.500  60%  10.0 s left" in screen
    assert "a=[2],seed=1  starting" in screen, "labels are no markup"
    assert "0 finished, 0 failed, 2 running, 1 to do" in screen


def test_a_log_has_a_line_when_a_cell_starts_ends_and_now_and_then(display, jobs, tmp_path):
    shown, output, now = display(False)
    first, second, _ = jobs.values()
    with shown:
        shown.started(first)
        reach(tmp_path, first.id, 2)
        for _ in range(61):
            now[0] += 1
            shown.looked()
        shown.ended(Ended(job=first, how="finished", seconds=61.0))
        shown.started(second)
        shown.ended(Ended(job=second, how="failed", seconds=2.0, reason="[no] such thing"))
    assert output.getvalue().splitlines() == [
        f"[0/3]  a=1,seed=1 starts; log: {first.log}",
        "[0/3]  a=1,seed=1  one step 2  loss 2.500  20%  ",
        "[1/3]  a=1,seed=1 finished after 1 min 01 s",
        f"[1/3]  a=[2],seed=1 starts; log: {second.log}",
        f"[2/3]  a=[2],seed=1 failed after 2.0 s: [no] such thing; log: {second.log}",
    ]
