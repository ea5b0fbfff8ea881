"""What trackers leave behind: full precision, nothing torn, nothing twice after a resume."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmcore.interfaces import (
    Evaluation,
    Incident,
    KindScore,
    RunInfo,
    StepReport,
    ValidationReport,
)
from mmcore_trackers.spec import JsonLinesSpec, TensorBoardSpec, WandbSpec


def report(step: int, **values: float) -> StepReport:
    return StepReport(stage="sft", step=step, stage_step=step, progress=0.0, values=values)


def start(spec: JsonLinesSpec | TensorBoardSpec, folder: Path, step: int = 0):
    run = RunInfo(name="run", folder=folder, step=step, recipe='name = "run"')
    tracker = spec.build(run)
    tracker.mmcore_run_start(run)
    return tracker


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_step_is_a_line_in_full_precision_at_once(tmp_path) -> None:
    tracker = start(JsonLinesSpec(), tmp_path)
    tracker.mmcore_step_end(report(1, loss=0.1 + 0.2, lr=1e-5))
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 1, "stage": "sft", "stage_step": 1, "loss": 0.30000000000000004, "lr": 1e-05}
    ]


def test_a_number_that_is_not_finite_is_null(tmp_path) -> None:
    tracker = start(JsonLinesSpec(), tmp_path)
    tracker.mmcore_step_end(report(1, loss=float("nan"), grad_norm=float("inf")))
    line = lines(tmp_path / "metrics.jsonl")[0]
    assert (line["loss"], line["grad_norm"]) == (None, None)


def test_a_resumed_run_drops_what_it_makes_again_and_a_torn_line(tmp_path) -> None:
    tracker = start(JsonLinesSpec(), tmp_path)
    for step in (1, 2, 3):
        tracker.mmcore_step_end(report(step, loss=float(step)))
    tracker.mmcore_run_end("stopped")
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write('{"step": 1, "é'.encode()[:-1])
    again = start(JsonLinesSpec(), tmp_path, step=2)
    again.mmcore_step_end(report(3, loss=30.0))
    assert [line["loss"] for line in lines(tmp_path / "metrics.jsonl")] == [1.0, 2.0, 30.0]


def test_an_evaluation_is_a_line_too(tmp_path) -> None:
    tracker = start(JsonLinesSpec(), tmp_path)
    score = KindScore("reading", 20, 0.75, 0.5, 0.9, 0.1)
    tracker.mmcore_evaluated(Evaluation("exact-answer", "sft", "base", 4, (score,)))
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 4, "task": "exact-answer", "after": "base", "accuracy/reading": 0.75}
    ]


@pytest.fixture
def curves(tmp_path):
    def read(name: str) -> list[tuple[int, float]]:
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        return [(point.step, point.value) for point in events.Scalars(name)]

    return read


def test_tensorboard_gets_curves_and_hides_what_is_made_again(tmp_path, curves) -> None:
    tracker = start(TensorBoardSpec(every_steps=2), tmp_path)
    for step in range(1, 7):
        tracker.mmcore_step_end(report(step, loss=float(step)))
    tracker.mmcore_run_end("stopped")
    assert curves("loss") == [(2, 2.0), (4, 4.0), (6, 6.0)]
    again = start(TensorBoardSpec(), tmp_path, step=4)
    again.mmcore_step_end(report(5, loss=50.0))
    score = KindScore("reading", 20, 0.75, 0.5, 0.9, 0.1)
    again.mmcore_evaluated(Evaluation("exact-answer", "sft", "base", 5, (score,)))
    again.mmcore_run_end("finished")
    assert curves("loss") == [(2, 2.0), (4, 4.0), (5, 50.0)]
    assert curves("exact-answer/reading") == [(5, 0.75)]


def test_a_validation_is_a_line_and_a_point(tmp_path, curves) -> None:
    found = ValidationReport("sft", 4, {"validation/loss": 0.5}, best=True)
    for spec in (JsonLinesSpec(), TensorBoardSpec(every_steps=3)):
        tracker = start(spec, tmp_path)
        tracker.mmcore_validated(found)
        tracker.mmcore_run_end("finished")
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 4, "stage": "sft", "validation/loss": 0.5}
    ]
    assert curves("validation/loss") == [(4, 0.5)]


SPIKE = Incident(step=4, kind="spike", detail="the loss leapt", sources={"ocr": math.nan})


def test_an_incident_is_a_line_and_a_point_with_words(tmp_path, curves) -> None:
    for spec in (JsonLinesSpec(), TensorBoardSpec(every_steps=3)):
        tracker = start(spec, tmp_path)
        tracker.mmcore_incident(SPIKE)
        tracker.mmcore_run_end("finished")
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 4, "incident": "spike", "detail": "the loss leapt", "by_source/ocr": None}
    ]
    assert curves("incident/spike") == [(4, 1.0)]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (words,) = events.Tensors("incident/spike/text_summary")
    assert words.tensor_proto.string_val == [b"the loss leapt"]


def test_a_missing_wandb_is_a_fault_of_this_machine(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = WandbSpec().problems()
    assert problem.machine
    assert "mmcore[wandb]" in problem.hint


def wandb_history(file: Path) -> list[dict[str, object]]:
    """The points of an offline run: records in blocks of 32 KiB, as LevelDB writes its log."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole, found = file.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:  # no header fits the rest of a block
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (2, 3):  # the record goes on
            continue
        record = wandb_internal_pb2.Record()
        record.ParseFromString(whole)
        whole = b""
        if record.HasField("alert"):
            found.append({"alert": record.alert.title, "text": record.alert.text})
        if items := record.history.item:
            named = [(one.key or ".".join(one.nested_key), one.value_json) for one in items]
            found.append({name: json.loads(value) for name, value in named})
    return found


def test_wandb_offline_has_every_value_over_the_runs_own_steps(tmp_path, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = start(WandbSpec(every_steps=2), tmp_path)
    for step in (1, 2, 3, 4):
        tracker.mmcore_step_end(report(step, loss=float(step)))
    tracker.mmcore_validated(ValidationReport("sft", 4, {"validation/loss": 0.5}))
    tracker.mmcore_incident(SPIKE)
    score = KindScore("reading", 20, 0.75, 0.5, 0.9, 0.1)
    tracker.mmcore_evaluated(Evaluation("exact-answer", "sft", "base", 5, (score,)))
    tracker.mmcore_run_end("finished")
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 60
    while len(history := wandb_history(file)) < 6 and time.monotonic() < deadline:
        time.sleep(0.2)  # another process writes it, which may be behind on a busy machine
    told = [
        {name: value for name, value in line.items() if not name.startswith("_")}
        for line in history
    ]
    assert told == [
        {"step": 2, "loss": 2.0},
        {"step": 4, "loss": 4.0},
        {"step": 4, "validation/loss": 0.5},
        {"step": 4, "incident/spike": 1.0},
        {"alert": "spike at step 4", "text": "the loss leapt"},
        {"step": 5, "exact-answer/reading": 0.75},
    ]
    known = (tmp_path / "wandb-id").read_text()
    again = start(WandbSpec(mode="offline"), tmp_path, step=4)
    again.mmcore_run_end("stopped")
    assert (tmp_path / "wandb-id").read_text() == known
    assert known.strip() in file.name, "the same run there"
