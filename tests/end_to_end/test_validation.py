"""Validation in whole runs: interrupted or not, on one process or two, it finds the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import mmcore
from mmcore.data.held_out import HeldOut
from mmcore.data.held_out_packs import HeldOutPacks
from mmcore.data.loader import PackLoader
from mmcore.data.prepare import Preparer
from mmcore.interfaces import Rejection, SampleKey
from mmcore.run_folder import best_checkpoint
from mmcore.training import checkpoint
from mmcore_registry import hookimpl

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


def test_held_out_rows_of_which_none_can_be_used_are_an_error(validated, monkeypatch) -> None:
    def refused(self, sample, overflow, inner=Preparer.tokenize):
        if HeldOut(0.2).holds(sample.key):
            raise Rejection("too-long", "a sample of the test")
        return inner(self, sample, overflow)

    monkeypatch.setattr(Preparer, "tokenize", refused)
    output = validated.mmcore("run", "mini.toml", "--set", "evaluations=[]", fails=True)
    assert "stage 'captions': 12 rows are held out, and none of them can be used" in output


@pytest.fixture
def keys_of(validated, monkeypatch):
    """Runs the first stage; the rows that were trained on, and those that validation looked at."""

    def go(*changes: str) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        trained, looked_at = set(), set()

        def names(batches):
            return {(one.key.shard, one.key.row) for batch in batches for one in batch.segments}

        def next_step(self, inner=PackLoader.next_step):
            data = inner(self)
            trained.update(names(data.batches))
            return data

        def batches(self, inner=HeldOutPacks.__iter__):
            for batch in inner(self):
                looked_at.update(names([batch]))
                yield batch

        with monkeypatch.context() as patched:
            patched.setattr(PackLoader, "next_step", next_step)
            patched.setattr(HeldOutPacks, "__iter__", batches)
            recipe = mmcore.load_recipe(
                "mini.toml", ["stages.captions.steps=24", "validation.every_steps=24", *changes]
            )
            mmcore.run(recipe, until="captions")
        return trained, looked_at

    return go


def test_no_row_that_is_held_out_is_ever_trained_on(keys_of) -> None:
    trained, looked_at = keys_of("validation.rows=1000")
    held_out = {
        (shard, row)
        for shard, row in trained | looked_at
        if HeldOut(0.2).holds(SampleKey("blip3-ocr", shard, row))
    }
    assert looked_at == held_out
    assert not trained & looked_at
    assert len(trained | looked_at) == 96, "every row is one or the other"
    assert 8 < len(looked_at) < 32, "a fifth, or so"
    other, same = keys_of("name=other", "seed=4", "data.lanes=2", "validation.rows=1000")
    assert same == looked_at
    assert not other & looked_at


def test_the_best_checkpoint_can_be_asked_and_begun_from(validated) -> None:
    validated.mmcore("run", "mini.toml", "--until", "captions")
    best = "runs/mini/checkpoints/best-captions"
    assert validated.mmcore("export", best, "exported")
    begun = ("run", "mini.toml", "--set", "name=again", "--stage", "answers", "--from", best)
    validated.mmcore(*begun)
    assert len(validated.losses("again")) == 6
    page = Path(validated.mmcore("report", "runs/again").strip()).read_text()
    assert "Loss by source" in page
    assert "at step 6" in page


def test_a_run_that_was_killed_before_it_kept_its_best_keeps_it_later(
    validated, monkeypatch
) -> None:
    """And validates no step twice."""

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(best_checkpoint, "keep", killed)
        with pytest.raises(Killed):
            validated.mmcore("run", "mini.toml", "--until", "captions")
    assert [line["step"] for line in found(validated, "mini")] == [2]
    root = validated.folder / "runs/mini/checkpoints"
    assert checkpoint.latest(root).name == "step-00000002"
    assert not (root / "best-captions").exists()
    at_start = []

    class Ear:
        @hookimpl
        def mmcore_stage_start(self) -> None:
            at_start.append(checkpoint.load(root / "best-captions").progress.step)

    mmcore.run(mmcore.load_recipe("mini.toml"), until="captions", listeners=[Ear()])
    assert at_start == [2]
    assert [line["step"] for line in found(validated, "mini")] == [2, 4, 6]


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
