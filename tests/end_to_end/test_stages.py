"""Stages one at a time, from other weights, with adapters, and ended early: as a user types it."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch

import mmcore
from mmcore import assemble
from mmcore.exchange.stored import open_stored
from mmcore.running import stages
from mmcore.training import checkpoint

BARE = ["evaluations=[]", "validation={share=0.2, rows=6, every_steps=2}"]
LORA = "{part='llm', lora={rank=2, alpha=4}}"


def newest(workplace, run="mini"):
    found = checkpoint.latest(workplace.folder / "runs" / run / "checkpoints")
    return checkpoint.load(found)


def weights(saved):
    return {state.name: state.weight for state in saved.states()}


def test_one_stage_at_a_time_is_the_whole_run(workplace):
    workplace.mmcore("run", "mini.toml", "--set", "name=whole")
    output = workplace.mmcore("run", "mini.toml", "--stage", "answers", fails=True)
    assert (
        "stage 'answers' begins where stage 'captions' ends, which is not finished: the run has no "
        "checkpoint yet; train it first with --until captions, or name" in output
    )
    workplace.mmcore("run", "mini.toml", "--until", "captions")
    output = workplace.mmcore("run", "mini.toml", "--stage", "answers")
    assert "stage 2 of 2: answers" in output
    assert workplace.losses() == workplace.losses("whole")
    workplace.mmcore("run", "mini.toml", "--stage", "answers")  # which is finished
    assert len(workplace.losses()) == 12
    output = workplace.mmcore("run", "mini.toml", "--stage", "captions", fails=True)
    assert "stage 'captions' is over: the run is in stage 'answers' by now" in output
    output = workplace.mmcore(
        "run", "mini.toml", "--stage", "answers", "--until", "answers", fails=True
    )
    assert "leave out --until answers" in output


def test_an_unfinished_stage_before_is_named_with_its_steps(workplace):
    mmcore.run(mmcore.load_recipe("mini.toml"), max_steps=2)
    output = workplace.mmcore("run", "mini.toml", "--stage", "answers", fails=True)
    assert "the run is at 2 steps of stage 'captions'" in output


def test_a_stage_from_other_weights(workplace):
    workplace.mmcore("run", "mini.toml", "--until", "captions")
    workplace.mmcore("export", "runs/mini", "models/mini", "--no-probe")
    shutil.copytree("runs/mini/checkpoints", "kept")
    (step,) = [one for one in (workplace.folder / "kept").iterdir() if (one / "pinned").exists()]
    workplace.mmcore("run", "mini.toml")
    whole = {step: loss for step, loss in workplace.losses().items() if step > 6}
    for name, path in (
        ("a", "runs/mini/checkpoints/step-00000006"),
        ("b", "models/mini"),
        ("c", step),
    ):
        workplace.mmcore(
            "run", "mini.toml", "--set", f"name={name}", "--stage", "answers", "--from", str(path)
        )
        losses = workplace.losses(name)  # another number of the step draws nothing else here
        assert list(losses.values()) == list(whole.values())
        assert list(losses) == list(range(1, 7))
    # The same words again go on with what they began, and begin nothing anew.
    again = ("run", "mini.toml", "--set", "name=b", "--stage", "answers", "--from")
    workplace.mmcore(*again, "models/../models/mini")
    assert len(workplace.losses("b")) == 6
    for other in ("runs/mini", "data"):
        output = workplace.mmcore(*again, other, fails=True)
        assert f"--from {other} would not be used: stage 'answers' of runs/b has begun" in output
        assert str(workplace.folder / "models/mini") in output


def test_weights_of_another_model_are_refused_with_all_that_differs(workplace):
    workplace.mmcore("run", "mini.toml", "--until", "captions")
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "name=other", "--from", "runs/mini",
        "--set", "model.encoder.image_size=48", "--set", "model.token_sampler.queries=6",
        "--set", "model.llm.width=64", fails=True,
    )  # fmt: skip
    for line in (
        "the encoder's view: 32 px in 4 x 4 patches -> 48 px in 6 x 6 patches",
        "tokens of a view: 4 -> 6",
        "the LLM's width: 32 -> 64",
    ):
        assert line in output
    assert not (workplace.folder / "runs" / "other" / "recipe.toml").exists()
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "name=other", "--from", "runs/mini", "--resume", "never",
        "--set", "model.llm.mlp_width=32", fails=True,
    )  # fmt: skip
    assert "mlp.down_proj.weight" in output
    (workplace.folder / "nothing").mkdir()
    output = workplace.mmcore(
        "run", "mini.toml", "--set", "name=o", "--from", "nothing", fails=True
    )
    assert "wanted a run folder with a checkpoint, a checkpoint or a model folder" in output


def test_what_makes_the_values_is_let_go_before_the_first_step(workplace, monkeypatch):
    kept, left = [], []
    started, train = assemble.started, stages.train_stage

    def starting(recipe, stage, initial, *rest):
        kept.append(weakref.ref(initial))
        return started(recipe, stage, initial, *rest)

    def training(*args, **kwargs):
        gc.collect()
        left.append(kept.pop()())
        return train(*args, **kwargs)

    monkeypatch.setattr(assemble, "started", starting)
    monkeypatch.setattr(stages, "train_stage", training)
    mmcore.run(mmcore.load_recipe("mini.toml"), max_steps=1)
    mmcore.run(mmcore.load_recipe("mini.toml"), max_steps=2)
    assert left == [None, None]


def test_stages_that_have_not_begun_may_change(workplace):
    workplace.mmcore("run", "mini.toml", "--until", "captions")
    changed = ("run", "mini.toml", "--set", "stages.answers.steps=2")
    workplace.mmcore(*changed)
    assert len(workplace.losses()) == 8
    output = workplace.mmcore(*changed[:2], fails=True)  # six steps again, and it has begun
    assert "stages.1.steps: 2 -> 6" in output
    assert "what may change when a run goes on: engine, trackers, " in output


def with_lora(*stages, others=()):
    """``--set`` for stages that train the LLM by adapters, and perhaps other parts."""
    words = []
    for stage in stages:
        words += ["--set", f"stages.{stage}.train=[{', '.join([LORA, *others])}]"]
    return words


def test_adapters_learn_alone_and_a_resumed_run_is_the_same_run(workplace):
    words = with_lora("captions")
    workplace.mmcore("run", "mini.toml", *words, "--set", "name=whole", "--until", "captions")
    mmcore.run(mmcore.load_recipe("mini.toml", words[1::2]), max_steps=3)
    saved = newest(workplace)
    assert saved.progress.step == 3
    before = weights(saved)
    workplace.mmcore("run", "mini.toml", *words, "--until", "captions")
    assert workplace.losses() == workplace.losses("whole")
    assert_adapters_alone_moved(before, newest(workplace))


def test_layers_that_are_not_there_are_told_before_anything_is_read(workplace):
    """Of every stage at once, also of those to come; no row is made up for a run like this."""
    words = []
    for stage, target in (("captions", "qkv_pro"), ("answers", "layers.7.mlp.down_proj")):
        words += ["--set", f"stages.{stage}.train=[{{part='llm', lora={{targets=['{target}']}}}}]"]
    for verb in ("run", "plan"):
        output = " ".join(workplace.mmcore(verb, "mini.toml", *words, fails=True).split())
        assert (
            "stages.captions.train: lora of llm: 'qkv_pro' names no layer; did you mean 'qkv_proj'?"
            in output
        )
        assert (
            "stages.answers.train: lora of llm: 'layers.7.mlp.down_proj' names no layer; did you "
            "mean 'layers.0.mlp.down_proj'?" in output
        )
    assert not (workplace.folder / "data").exists()
    assert not (workplace.folder / "runs").exists()


def assert_adapters_alone_moved(old, after):
    new = weights(after)
    assert old.keys() == new.keys()
    moved = {name for name, one in new.items() if not torch.equal(one, old[name])}
    assert moved == {name for name in new if ".lora_" in name}
    assert moved
    assert after.manifest.loras["llm"].rank == 2


@pytest.mark.slow
@pytest.mark.timeout(900)  # three starts of two processes, on a machine that may be busy
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_adapters_under_deepspeed_on_two_processes(workplace, zero, precision):
    """Interrupted, they go on; in fp32 they learn what they learn on one process."""
    words = [*with_lora("captions"), "--set", f"engine.precision={precision}"]
    words += ["--set", "checkpoints.keep_last=9"]
    engine = ["--set", "engine.use=deepspeed", "--set", f"engine.zero={zero}", "--procs", "2"]
    workplace.typed("run", "mini.toml", *words, *engine, "--until", "captions")
    step = workplace.folder / "runs/mini/checkpoints/step-00000002"
    assert_adapters_alone_moved(weights(checkpoint.load(step)), newest(workplace))
    workplace.mmcore("run", "mini.toml", *words, "--set", "name=one", "--until", "captions")
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    assert workplace.losses() == pytest.approx(workplace.losses("one"), rel=tolerance)
    # Back to the second step: what was saved there rejoins the curve.
    whole = workplace.losses()
    latest = step.parent / "latest"
    latest.write_text("step-00000002\n")
    workplace.typed("run", "mini.toml", *words, *engine, "--until", "captions")
    assert workplace.losses() == pytest.approx(whole, rel=tolerance)
    # The next stage begins with merged weights.
    merged = ("--set", "stages.answers.train=['token_sampler']")
    workplace.typed("run", "mini.toml", *words, *merged, *engine)
    assert not any(".lora_" in name for name in newest(workplace).manifest.tensors)
    assert len(workplace.losses()) == 12


def test_adapters_are_merged_for_a_stage_that_trains_others(workplace):
    words = [*with_lora("captions"), "--set", "stages.answers.train=['token_sampler']"]
    workplace.mmcore("run", "mini.toml", *words, "--until", "captions")
    saved = newest(workplace)
    with open_stored(workplace.folder / "runs" / "mini") as stored:
        merged = {name: stored.tensors.read(name) for name in stored.tensors.names()}
    workplace.mmcore("run", "mini.toml", *words)
    after = weights(newest(workplace))
    assert not any(".lora_" in name or "base_layer" in name for name in after)
    plain = {name: one for name, one in merged.items() if not name.startswith("token_sampler")}
    assert plain
    assert all(torch.equal(after[name], one) for name, one in plain.items())
    base = weights(saved)["llm.model.layers.0.mlp.down_proj.base_layer.weight"]
    assert not torch.equal(after["llm.model.layers.0.mlp.down_proj.weight"], base)


def test_the_same_adapters_go_on_in_the_next_stage(workplace):
    words = [*with_lora("captions"), *with_lora("answers", others=["'token_sampler'"])]
    workplace.mmcore("run", "mini.toml", *words, "--until", "captions")
    before = weights(newest(workplace))
    workplace.mmcore("run", "mini.toml", *words)
    after = weights(newest(workplace))
    assert before.keys() == after.keys()
    base = {name for name in after if name.startswith("llm") and ".lora_" not in name}
    assert all(torch.equal(after[name], before[name]) for name in base)
    assert json.loads((workplace.folder / "runs/mini/stage-answers.json").read_text())["finished"]


def test_a_run_with_adapters_is_asked_exported_and_planned(workplace):
    words = with_lora("answers")
    workplace.mmcore("run", "mini.toml", *words)
    picture = next((workplace.folder / "data" / "held-out").rglob("*.png"))
    question = ("--image", str(picture), "What does it say?")
    answer = workplace.mmcore("generate", "runs/mini", *question)
    workplace.mmcore("export", "runs/mini", "models/merged")
    assert workplace.mmcore("generate", "models/merged", *question) == answer
    assert not any("lora" in one for one in tensors_of("models/merged"))
    plan = mmcore.plan(mmcore.load_recipe("mini.toml", [words[1]]))
    learn = {part.part: part.trainable for part in plan.stages[1].parts}
    saved = weights(newest(workplace))
    adapters = sum(one.numel() for name, one in saved.items() if ".lora_" in name)
    assert learn == {"encoder": 0, "token_sampler": 0, "llm": adapters}
    assert plan.stages[1].memory.step < plan.stages[0].memory.step


def tensors_of(folder):
    with open_stored(Path(folder)) as stored:
        return set(stored.tensors.names())


def test_a_stage_ends_early_and_the_next_one_begins(workplace):
    early = "stages.captions.early_stop={measure='loss', patience=2, min_delta=50}"
    output = workplace.mmcore("run", "mini.toml", "--set", early, *with_lora("captions"))
    assert "stopped early: loss has not fallen more than 50 below " in output
    steps = {line["step"]: line["stage"] for line in workplace.metrics()}
    assert list(steps.values()) == ["captions"] * 3 + ["answers"] * 6
    moments = (workplace.folder / "runs/mini/evaluations.jsonl").read_text().splitlines()
    assert [json.loads(one)["after"] for one in moments] == ["", "captions", "answers"]


def test_a_validation_ends_a_stage_and_the_best_checkpoint_may_be_what_the_next_begins_with(
    workplace,
):
    validated(workplace)
    early = watching("validation/loss", patience=1)
    rate = "stages.captions.optimizer"  # which rises until the loss does
    words = (*early, "--set", f"{rate}.lr=1.0", "--set", f"{rate}.warmup_steps=4")
    output = workplace.mmcore("run", "mini.toml", *words)
    assert "stopped early: validation/loss has not fallen below " in output
    stages = [line["stage"] for line in workplace.metrics()]
    ended = stages.count("captions")
    assert 2 <= ended < 6
    assert stages == ["captions"] * ended + ["answers"] * 6
    report = json.loads((workplace.folder / "runs/mini/stage-captions.json").read_text())
    assert report["ended_early"].startswith("stopped early: validation/loss")

    # The next stage went on from the end; it can be told to begin with the best instead.
    best = workplace.folder / "runs/mini/checkpoints/best-captions"
    assert checkpoint.load(best).progress.step == ended - 1
    words = (*words, "--set", "name=other")
    workplace.mmcore("run", "mini.toml", *words, "--until", "captions")
    workplace.mmcore("run", "mini.toml", *words, "--stage", "answers", "--from", str(best))
    assert len(workplace.losses("other")) == ended + 6
    frozen = "encoder.trunk.patch_embed.proj.weight"  # in the second stage
    begun_with = weights(checkpoint.load(best))[frozen]
    assert torch.equal(weights(newest(workplace, "other"))[frozen], begun_with)
    assert not torch.equal(weights(newest(workplace))[frozen], begun_with)


def test_what_early_stop_watches_is_checked(workplace):
    for measure, message in (
        ("los", "wanted loss, loss/OBJECTIVE, validation/NAME or score/TASK; did you mean 'loss'?"),
        ("loss/autoregresive", "did you mean 'loss/autoregressive'?"),
        ("loss/autoregressive", "the stage has one objective; write 'loss'"),
        ("validation/exact-answer", "write 'score/exact-answer'"),
        ("score/exact-anser", "did you mean 'score/exact-answer'?"),
        ("score/exact-answer", "add a [validation] table"),
        ("validation/loss", "add a [validation] table"),
    ):
        output = workplace.mmcore("check", "mini.toml", *watching(measure), fails=True)
        assert message in output, measure
    validated(workplace)
    for measure, message in (
        ("validation/los", "did you mean 'validation/loss'?"),
        ("validation/blip3-ocr", "write 'validation/loss_by_source/blip3-ocr'"),
        ("validation/seconds", "it measures: loss, loss_by_source/blip3-ocr"),
        ("score/exact-answer", "add 'exact-answer' to validation.tasks"),
    ):
        output = workplace.mmcore("check", "mini.toml", *watching(measure), fails=True)
        assert message in output, measure
    for measure in ("loss", "validation/loss", "validation/loss_by_source/blip3-ocr"):
        workplace.mmcore("check", "mini.toml", *watching(measure))
    asked = ("--set", "validation.tasks=['exact-answer']")
    workplace.mmcore("check", "mini.toml", *watching("score/exact-answer/colour"), *asked)


def watching(measure, **keys):
    """``--set`` for an early stop of the first stage."""
    more = "".join(f", {key}={value}" for key, value in {"patience": 2, **keys}.items())
    return "--set", f"stages.captions.early_stop={{measure='{measure}'{more}}}"


def validated(workplace):
    recipe = workplace.folder / "mini.toml"
    table = "[validation]\nshare = 0.2\nrows = 6\nevery_steps = 1\n"
    recipe.write_text(f"{recipe.read_text()}\n{table}")


@pytest.mark.parametrize("place", [(assemble, "pack_loader"), (stages, "stage_validation")])
def test_an_engine_is_closed_whatever_fails_after_it_was_made(workplace, monkeypatch, place):
    closed = []

    def started(*args, make=assemble.started):
        learning = make(*args)
        usual = learning.engine.close
        monkeypatch.setattr(learning.engine, "close", lambda: closed.append(usual()))
        return learning

    def fails(*_):
        raise ValueError("it cannot be read")

    monkeypatch.setattr(assemble, "started", started)
    monkeypatch.setattr(*place, fails)
    with pytest.raises(ValueError, match="it cannot be read"):
        mmcore.run(mmcore.load_recipe("mini.toml", BARE))
    assert len(closed) == 1


def test_rows_are_looked_at_before_a_model_is_made_whose_sources_do_not_outlive_its_start(
    workplace, monkeypatch
):
    happened, sources = [], []

    def audited(*args, look=assemble.stage_audit):
        happened.append("audit")
        return look(*args)

    def started(*args, make=assemble.started):
        happened.append("model")
        sources.append(weakref.ref(args[2]))
        return make(*args)

    def trained(run, progress, train=stages.train_stage, **others):
        gc.collect()
        happened.append("steps")
        assert sources[-1]() is None, "what the values were made of is still held"
        return train(run, progress, **others)

    monkeypatch.setattr(assemble, "stage_audit", audited)
    monkeypatch.setattr(assemble, "started", started)
    monkeypatch.setattr(stages, "train_stage", trained)
    mmcore.run(mmcore.load_recipe("mini.toml", BARE), max_steps=1)
    assert happened == ["audit", "model", "steps"]
