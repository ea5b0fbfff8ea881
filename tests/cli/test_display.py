"""What a person sees of a run while it trains."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mmcore.cli import display
from mmcore.cli.display import Pace, RunDisplay, validation_line
from mmcore.interfaces import StageInfo, StepReport, ValidationReport


def step(number: int, progress: float, **more: float) -> StepReport:
    values = {"loss": 1.25, "tokens_per_second": 1234.5, "data_wait_share": 0.05, **more}
    return StepReport("sft", number, number, progress, values)


@pytest.fixture
def shown(monkeypatch):
    """What is printed of reports that come ten seconds apart, on a terminal or in a file."""

    def show(*reports: StepReport, terminal: bool = False) -> str:
        clock = iter(range(1000, 10_000, 10))
        now = [0.0]
        monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
        console = Console(file=io.StringIO(), width=160, force_terminal=terminal)
        tracker = RunDisplay(console)
        tracker.mmcore_stage_start(StageInfo("sft", 1, 1, ()))
        for report in reports:
            now[0] = float(next(clock))
            tracker.mmcore_step_end(report)
        tracker.mmcore_run_end("stopped")
        return console.file.getvalue()

    return show


@pytest.mark.parametrize("terminal", [False, True])
def test_loss_speed_mfu_and_the_time_left_are_shown(shown, terminal) -> None:
    last = shown(step(1, 0.2, mfu=0.5), step(2, 0.3, mfu=0.5), terminal=terminal)
    for words in ("step 2", "loss 1.250", "MFU 50.0%", "waiting for data 5%", "1 min 10 s left"):
        assert words in last, words
    assert "1,234 tokens/s" in last


def test_mfu_is_left_out_where_it_is_not_known(shown) -> None:
    assert "MFU" not in shown(step(1, 0.2))


def test_what_an_earlier_process_did_is_not_counted_as_pace() -> None:
    pace = Pace()
    assert pace.left(0.9, 100.0) is None
    assert pace.left(0.9, 105.0) is None
    assert pace.left(0.95, 110.0) == pytest.approx(10.0)
    assert pace.left(1.0, 120.0) == 0.0


def test_a_validation_names_sources_where_there_are_several() -> None:
    values = {
        "validation/loss": 2.0, "validation/loss_by_source/a": 1.0, "validation/labels": 9.0,
        "validation/loss_by_source/b": 3.0, "validation/reading": 0.5,
        "validation/reading/colour": 0.5, "validation/seconds": 1.0,
    }  # fmt: skip
    line = validation_line(ValidationReport("sft", 7, values, best=True))
    assert line == "step 7: validation loss 2.000  (a 1.000, b 3.000)  reading 50%  best so far"
