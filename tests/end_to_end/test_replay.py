"""`mmcore replay`: any step of a run, made again, is what was recorded of it."""

import hashlib
import json
import sys

import attrs
import pytest

import mmcore
from mmcore.replaying.replay import replay
from mmcore.replaying.results import ReplayError
from mmcore.run_folder import rollbacks
from mmcore.training.spikes import RollBack

LORA = "{part='llm', lora={rank=2, alpha=4}}"
VALIDATION = """
[validation]
share = 0.2
rows = 12
every_steps = 1
tasks = ["exact-answer"]
"""


def content(folder):
    """Every file below a folder, by what is in it."""
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def recorded(workplace, run="mini"):
    return {line["step"]: line for line in workplace.metrics(run)}


@pytest.fixture
def again(workplace):
    """``again(step)``: the step made again is, bit for bit, what was recorded."""

    def again(step, run="mini", **options):
        found = replay(workplace.folder / "runs" / run, step, device="cpu", **options)
        then = recorded(workplace, run)[step]
        assert (found.step, found.stage) == (step, then["stage"])
        assert (found.loss, found.grad_norm) == (then["loss"], then["grad_norm"])
        assert all(one.loss == one.recorded for one in found.before)
        return found

    return again


def test_any_step_is_what_was_recorded_and_nothing_is_changed(workplace, again):
    workplace.mmcore("run", "mini.toml", "--set", "checkpoints.every_steps=4")
    folder = workplace.folder / "runs" / "mini"
    before = content(folder)
    assert again(2).start is None
    found = again(11)
    assert content(folder) == before
    assert found.start.endswith("step-00000008")
    assert [one.step for one in found.before] == [9, 10]
    labels = sum(one.labels for pack in found.packs for one in pack.samples)
    total = sum(one.total for pack in found.packs for one in pack.samples)
    assert total / labels == pytest.approx(found.loss, rel=1e-6)
    assert labels == recorded(workplace)[11]["labels"]
    norms = {one.name: one for one in found.modules}
    assert found.first_not_finite is None
    parts = [norms[name].parameter_gradient for name in ("token_sampler", "llm")]
    assert sum(norm**2 for norm in parts) ** 0.5 == pytest.approx(found.grad_norm, rel=1e-5)
    assert norms["encoder"].parameter_gradient is None  # frozen in this stage
    assert norms["encoder"].output_rms > 0


def test_the_command_shows_it(workplace):
    workplace.mmcore("run", "mini.toml")
    output = workplace.mmcore("replay", "runs/mini", "--step", "12", "--device", "cpu")
    loss = workplace.losses()[12]
    for words in (
        "step 12, step 6 of stage answers",
        "from runs/mini/checkpoints/step-00000010, 1 steps in between, all with the recorded",
        f"loss {loss:.6f}, as recorded",
        "gradient norm",
        "pack 4 (rank 0, lane 3)",
        "token_sampler",
    ):
        assert words in output, output
    table = workplace.mmcore("replay", "runs/mini", "--step", "12", "--device", "cpu", "--json")
    assert json.loads(table[table.index("{") :])["loss"] == loss


@pytest.mark.parametrize("recorded", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_cannot_be_is_told(workplace, recorded):
    trackers = [] if recorded else ["--set", "trackers=[]"]
    workplace.mmcore("run", "mini.toml", "--set", "evaluations=[]", *trackers)
    far = "the run has made 12 steps" if recorded else "the run ends with step 12"
    for words, told in (
        (["--step", "40"], far),
        (["--step", "13"], "the run ends with step 12, and step 13 was asked for"),
        (["--step", "0"], "0 is not in the range x>=1"),
        (["--step", "3", "--device", "abacus"], "--device abacus cannot be used here"),
        (["--step", "3", "--device", "cuda:99"], "--device cuda:99 cannot be used here"),
    ):
        assert told in workplace.mmcore("replay", "runs/mini", *words, fails=True)
    assert "no run folder" in workplace.mmcore("replay", ".", "--step", "1", fails=True)


@pytest.mark.slow
def test_validations_in_between_change_nothing(workplace, again):
    recipe = workplace.folder / "mini.toml"
    recipe.write_text(recipe.read_text() + VALIDATION)
    workplace.mmcore("run", "mini.toml", "--set", "checkpoints.every_steps=100")
    for step in (5, 10):
        again(step)


@pytest.mark.slow
def test_with_adapters_within_their_stage_and_after_it(workplace, again):
    workplace.mmcore(
        "run", "mini.toml", "--set", f"stages.captions.train=['token_sampler', {LORA}]",
        "--set", "checkpoints.keep_stages=false", "--set", "checkpoints.every_steps=4",
        "--set", "checkpoints.keep_last=9",
    )  # fmt: skip
    names = {one.name for one in again(5).modules}
    assert any(name.endswith("lora_A.default") for name in names)
    # Step 7 begins the next stage: from the end of the one before, with its adapters merged.
    assert again(7).start.endswith("step-00000006")
    end = workplace.folder / "runs" / "mini" / "checkpoints" / "step-00000006"
    end.rename(workplace.folder / "elsewhere")
    found = again(8)
    assert found.start.endswith("step-00000004")
    assert not any("lora" in one.name for one in found.modules)


@pytest.mark.slow
def test_after_a_stage_that_ended_early(workplace, again):
    workplace.mmcore(
        "run", "mini.toml", "--set", "stages.captions.steps=40",
        "--set", "stages.captions.optimizer.lr=0.3", "--set", "checkpoints.keep_stages=false",
        "--set", "stages.captions.early_stop={measure='loss', patience=2}",
        "--set", "checkpoints.every_steps=100", "--set", "checkpoints.keep_last=1",
    )  # fmt: skip
    (end,) = {
        line["step"] - line["stage_step"]
        for line in workplace.metrics()
        if line["stage"] == "answers"
    }
    assert 2 < end < 40, "the stage did not end early"
    found = again(end + 2)
    assert found.start is None
    assert len(found.before) == end + 1


@pytest.mark.slow
def test_from_the_weights_that_a_stage_began_from(workplace, again):
    workplace.mmcore("run", "mini.toml", "--until", "captions", "--set", "name=before")
    workplace.mmcore(
        "run", "mini.toml", "--stage", "answers", "--from", "runs/before",
        "--set", "checkpoints.every_steps=100",
    )  # fmt: skip
    found = again(2)
    end = str(workplace.folder / "runs/before/checkpoints/step-00000006")
    assert (found.start, found.stage_step) == (end, 2)


def test_a_stage_that_was_left_before_its_end_is_followed_by_the_one_that_was_begun(
    workplace, again
):
    recipe = mmcore.load_recipe("mini.toml", ["evaluations=[]", "checkpoints.keep_last=9"])
    mmcore.run(attrs.evolve(recipe, name="before"), max_steps=1)
    mmcore.run(recipe, max_steps=3)
    mmcore.run(recipe, stage="answers", begin_from="runs/before", max_steps=3)
    mmcore.run(attrs.evolve(recipe, name="before"), max_steps=1)  # which changes nothing of it
    assert again(3).stage == "captions"
    found = again(5)
    assert (found.stage, found.stage_step) == ("answers", 2)
    (workplace.folder / "runs/mini/checkpoints/step-00000004").rename("elsewhere")
    found = again(5)
    assert found.start == str(workplace.folder / "runs/before/checkpoints/step-00000001")
    assert [one.step for one in found.before] == [4]


def test_before_a_roll_back_no_checkpoint_of_after_it_counts(workplace):
    recipe = mmcore.load_recipe("mini.toml", ["evaluations=[]", "checkpoints.keep_last=9"])
    mmcore.run(attrs.evolve(recipe, name="whole"), max_steps=4)
    mmcore.run(recipe, max_steps=1)
    folder = workplace.folder / "runs" / "mini"
    with pytest.raises(ReplayError, match="never went back"):
        replay(folder, 1, before_rollback=True)
    rollbacks.append(folder, RollBack("captions", 2, 3))
    mmcore.run(recipe, max_steps=3)
    found = replay(folder, 3, device="cpu", before_rollback=True)
    assert found.loss == workplace.losses("whole")[3] != workplace.losses()[3]
    assert found.start.endswith("step-00000001")
    assert found.recorded == {}
    with pytest.raises(ReplayError, match="went back at step 3"):
        replay(folder, 4, before_rollback=True)
    assert replay(folder, 3, device="cpu").loss == workplace.losses()[3]


def test_a_step_that_was_begun_and_never_ended_can_be_made(workplace):
    recipe = mmcore.load_recipe("mini.toml")
    mmcore.run(recipe, max_steps=3)
    folder = workplace.folder / "runs" / "mini"
    assert replay(folder, 4).step == 4
    with pytest.raises(ReplayError, match="the run has made 3 steps"):
        replay(folder, 5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only")
@pytest.mark.parametrize("zero", [2, 3])
def test_a_step_of_two_processes_is_made_by_one(workplace, zero):
    workplace.typed(
        "run", "mini.toml", "--procs", "2", "--set", "engine.use=deepspeed",
        "--set", f"engine.zero={zero}", "--set", "engine.precision=fp32",
        "--set", "checkpoints.every_steps=4",
    )  # fmt: skip
    for step in (3, 11):
        found = replay(workplace.folder / "runs" / "mini", step)
        then = recorded(workplace)[step]
        assert found.ranks == 2
        assert {pack.rank for pack in found.packs} == {0, 1}
        assert found.loss == pytest.approx(then["loss"], rel=1e-5)
        assert found.grad_norm == pytest.approx(then["grad_norm"], rel=1e-4)
