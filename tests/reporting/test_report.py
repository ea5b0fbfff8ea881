"""The page of a run: what it says is what the run wrote down, and nothing breaks it."""

from __future__ import annotations

import base64
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.interfaces import Evaluation, KindScore
from mmcore.reporting.durations import duration
from mmcore.reporting.facts import Facts
from mmcore.reporting.figures import figures
from mmcore.reporting.page import render
from mmcore.reporting.stages import stage_rows, time_shares
from mmcore.reporting.story import ReportError, read
from mmcore.reporting.thinning import thinned


def step(number: int, stage: str, **changes: float | None) -> dict[str, object]:
    return {
        "step": number, "stage": stage, "stage_step": number, "loss": 4.0 / number,
        "loss_by_source/ocr": 1.0, "grad_norm": 1.0, "grad_norm/llm": 1.0, "lr": 1e-3,
        "lr/llm": 1e-3, "tokens": 100.0, "seconds": 2.0, "tokens_per_second": 50.0,
        "data_wait_share": 0.25, "mfu": 0.4, "skipped": 0.0, "memory/host": 2.0**30,
        "time/data_wait": 0.5, "time/backward": 1.0, "time/other": 0.5, "time/checkpoint": 0.0,
        "time/validation": 0.0, **changes,
    }  # fmt: skip


STEPS = [
    step(1, "base"), step(2, "base", seconds=1.0, mfu=0.7), step(3, "sft", loss=None, skipped=1.0),
    step(4, "sft", skipped=1.0, **{"time/validation": 2.0}),
]  # fmt: skip
CHECKED = [
    {"stage": "base", "step": 1, "best": True, "values": {"validation/loss": 3.0}},
    {"stage": "base", "step": 2, "best": False, "values": {"validation/loss": 3.5}},
    {
        "stage": "sft", "step": 4, "best": True,
        "values": {
            "validation/loss": 2.0, "validation/loss_by_source/ocr": 2.0, "validation/reading": 0.5,
            "validation/labels": 7.0, "validation/samples": 2.0, "validation/seconds": 0.1,
        },
    },
]  # fmt: skip
INCIDENT = {
    "step": 3, "kind": "not-finite", "detail": "the <loss> was nan", "sources": {"ocr": None},
    "keys": [f"ocr/s/{number}" for number in range(6)],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    """A run that goes on: its last line is not whole yet."""
    run = tmp_path / "a & b"
    run.mkdir()
    start = {
        "started": "2026-01-02T03:04:05+0000", "ranks": 2, "device": "cpu",
        "packages": {"torch": "2", "mmcore": "1"}, "command": ["mmcore", "run", "<x>.toml"],
    }  # fmt: skip
    (run / "recipe.toml").write_text("")
    (run / "environment.json").write_text(json.dumps([start, start]))
    lines = [*STEPS, {"step": 4, "task": "t", "after": "sft", "accuracy/k": 1.0}, CHECKED[0]]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    with (run / "metrics.jsonl").open("ab") as file:
        file.write('{"stage": "é'.encode()[:-1])
    (run / "validations.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in CHECKED))
    (run / "incidents.jsonl").write_text(json.dumps(INCIDENT) + "\n")
    score = KindScore("reading", 20, 0.75, 0.5, 0.9, 0.1)
    told = [Evaluation("exact", "sft", after, 4, (score,)) for after in ("", "sft")]
    (run / "evaluations.jsonl").write_text(
        "".join(f"{json.dumps(attrs.asdict(one))}\n" for one in told)
    )
    return run


def test_only_steps_are_steps_and_a_torn_line_is_left_out(folder) -> None:
    story = read(folder)
    assert [one["step"] for one in story.steps] == [1, 2, 3, 4]
    assert math.isnan(story.steps[2]["loss"])
    assert story.stages == ["base", "sft"]


def test_stages_and_shares_are_those_of_the_steps(folder) -> None:
    base, sft = stage_rows(read(folder))
    assert (base.steps, base.tokens, base.seconds) == (2, 200.0, 3.0)
    assert base.tokens_per_second == pytest.approx(200 / 3)
    assert base.mfu == pytest.approx((0.4 * 2 + 0.7 * 1) / 3), "all FLOPs over all time"
    assert (base.best, base.best_step, base.loss) == (3.0, 1, 3.0)
    assert (sft.seconds, sft.skipped, sft.best_step) == (6.0, 1, 4)
    assert sft.loss == 1.0, "a step that was skipped says nothing"
    shares = {one.name: one for one in time_shares(read(folder))}
    assert shares["validation"].share == pytest.approx(2 / 10)
    assert sum(one.share for one in shares.values()) == pytest.approx(1)
    assert "checkpoint" not in shares


def test_a_validation_that_was_not_finite_is_never_the_best(folder) -> None:
    broken = {"stage": "base", "step": 1, "best": False, "values": {"validation/loss": math.nan}}
    lines = "".join(f"{json.dumps(one)}\n" for one in (broken, *CHECKED))
    (folder / "validations.jsonl").write_text(lines)
    assert [row.best for row in stage_rows(read(folder))] == [3.0, 2.0]
    (folder / "validations.jsonl").write_text(f"{json.dumps(broken)}\n")
    assert [row.best for row in stage_rows(read(folder))] == [None, None]
    assert "Validation" in render(read(folder), Facts())


def test_the_page_says_it_and_asks_nothing_of_any_server(folder) -> None:
    page = render(read(folder), Facts())
    for words in (
        "a &amp; b", "the &lt;loss&gt; was nan", "not finite", "and 2 more", "2 processes",
        "3.000 <small>at step 1", "2 times", "75 [50, 90]", "after sft",
    ):  # fmt: skip
        assert words in page, words
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    assert "<script" not in page


def test_every_picture_can_be_drawn(folder) -> None:
    found = figures(read(folder))
    assert [one.title for one in found] == [
        "Loss", "Loss by source", "Tasks asked in validation", "Speed", "MFU",
        "Where the time goes", "Norm of the gradient", "Learning rates", "Memory",
    ]  # fmt: skip
    for one in found:
        assert ElementTree.fromstring(one.svg).tag.endswith("svg")
    pictures = re.findall(r"svg\+xml;base64,([^\"]+)", render(read(folder), Facts()))
    assert [base64.b64decode(one).decode() for one in pictures] == [one.svg for one in found]


def test_a_run_without_validation_mfu_or_incidents_has_a_page_too(folder) -> None:
    for name in ("validations.jsonl", "incidents.jsonl", "evaluations.jsonl"):
        (folder / name).unlink()
    plain = step(1, "base")
    del plain["mfu"]
    (folder / "metrics.jsonl").write_text(json.dumps(plain) + "\n")
    page = render(read(folder), Facts())
    for words in ("MFU", "alidation", "Incidents", "Evaluations", "not finite"):
        assert words not in page
    assert "Where the time goes" in page


def test_a_folder_without_a_run_or_a_step_is_said(tmp_path, folder) -> None:
    with pytest.raises(ReportError, match=r"no run folder.*recipe\.toml"):
        read(tmp_path)
    (folder / "metrics.jsonl").unlink()
    with pytest.raises(ReportError, match=r"no step.*jsonl"):
        read(folder)


numbers = st.floats(-1e6, 1e6) | st.just(math.nan)


@given(st.lists(numbers, max_size=60), st.integers(1, 20))
def test_a_thinned_curve_has_few_points_and_the_same_mean_and_bounds(values, most) -> None:
    points = list(enumerate(values))
    curve = thinned(points, most)
    assert len(curve.steps) <= most
    assert curve.steps == sorted(set(curve.steps))
    finite = [value for value in values if math.isfinite(value)]
    assert bool(curve.means) == bool(finite)
    if finite:
        assert (min(curve.least), max(curve.most)) == (min(finite), max(finite))
    for least, mean, top in zip(curve.least, curve.means, curve.most, strict=True):
        assert least - 1e-9 <= mean <= top + 1e-9
    if len(values) <= most:
        assert curve.means == finite


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(7.34, "7.3 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (450_000, "125 h 00 min")],
)
def test_durations_are_said_as_people_do(seconds, words) -> None:
    assert duration(seconds) == words
