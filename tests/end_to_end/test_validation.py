"""Validation in whole runs: interrupted or not, on one process or two, it finds the same."""

from __future__ import annotations

import json
import sys

import pytest

from mmcore.data.held_out import HeldOut
from mmcore.interfaces import SampleKey
from mmcore.training import checkpoint

TABLE = """
[validation]
share = 0.2
rows = 12
every_steps = 2
"""


@pytest.fixture
def validated(workplace):
    recipe = workplace.folder / "mini.toml"
    recipe.write_text(recipe.read_text() + TABLE)
    return workplace


def found(workplace, run: str) -> list[dict]:
    path = workplace.folder / "runs" / run / "validations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        del line["values"]["validation/seconds"]
    return lines


def test_a_resumed_run_finds_what_an_uninterrupted_one_does_and_keeps_the_best(validated) -> None:
    validated.mmcore("run", "mini.toml", "--set", 'validation.tasks=["exact-answer"]')
    whole = found(validated, "mini")
    assert [(line["stage"], line["step"]) for line in whole] == [
        *[("captions", step) for step in (2, 4, 6)],
        *[("answers", step) for step in (8, 10, 12)],
    ]
    assert "validation/exact-answer/colour" in whole[0]["values"]

    first = ("run", "mini.toml", "--set", "name=twice", "--stage", "captions")
    validated.mmcore(*first, "--set", 'validation.tasks=["exact-answer"]')
    output = validated.mmcore(
        "run", "mini.toml", "--set", "name=twice", "--set", 'validation.tasks=["exact-answer"]'
    )
    assert found(validated, "twice") == whole
    assert "validation loss" in output
    for stage in ("captions", "answers"):
        best = [line["step"] for line in whole if line["stage"] == stage and line["best"]][-1]
        kept = checkpoint.load(validated.folder / f"runs/mini/checkpoints/best-{stage}")
        kept.verify()
        assert kept.progress.step == best


@pytest.mark.slow
def test_two_processes_find_what_one_does(validated) -> None:
    if sys.platform != "linux":
        pytest.skip("DeepSpeed is installed on Linux only")
    validated.mmcore("run", "mini.toml", "--set", "name=one")
    validated.typed(
        "run", "mini.toml", "--procs", "2", "--set", "name=two", "--set", "engine.use=deepspeed",
        "--set", "engine.zero=3", "--set", "engine.precision=fp32",
    )  # fmt: skip
    one, two = found(validated, "one"), found(validated, "two")
    assert [line["step"] for line in two] == [line["step"] for line in one]
    for left, right in zip(one, two, strict=True):
        assert right["values"] == pytest.approx(left["values"], rel=1e-5)
    names = {name for line in validated.metrics("two") for name in line}
    assert "loss_by_source/blip3-ocr" in names
    for left, right in zip(validated.metrics("one"), validated.metrics("two"), strict=True):
        by_source = [name for name in left if name.startswith(("loss_by_source", "grad_norm/"))]
        assert len(by_source) >= 3
        for name in by_source:
            assert right[name] == pytest.approx(left[name], rel=1e-5), name
        assert right["time/communication"] > 0 == left["time/communication"]


def test_the_share_belongs_to_the_run_and_data_check_counts_it(validated) -> None:
    output = validated.mmcore("data", "check", "mini.toml", "--made-up")
    held = sum(
        HeldOut(0.2).holds(SampleKey("llava-json", shard, row))
        for shard in ("part-00000.json",)
        for row in range(100)
    )
    assert "held out for validation, of the rows read: llava-json " in output
    assert held > 0
    validated.mmcore("run", "mini.toml", "--stage", "captions")
    changed = ("run", "mini.toml", "--set", "validation.share=0.3")
    assert "validation.share" in validated.typed(*changed, fails=True)


def test_a_profile_and_an_unknown_task_are_told(validated) -> None:
    output = validated.mmcore("run", "mini.toml", "--stage", "captions", "--profile=2")
    (trace,) = (validated.folder / "runs/mini/profile").iterdir()
    assert trace.name in output
    output = validated.typed(
        "check", "mini.toml", "--set", 'validation.tasks=["exact-anser"]', fails=True
    )
    assert "did you mean 'exact-answer'?" in output
