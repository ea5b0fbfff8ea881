"""BLIP-2's objectives in whole runs: they learn, resume bit for bit, validate, and are refused."""

from __future__ import annotations

import json

import mmcore
from mmcore.recipe import RecipeError
from mmcore.training import checkpoint

ALL = '[{use="autoregressive"}, {use="itc", candidates=6}, {use="itm"}, {use="itg"}]'
BLIP2 = '[{use="itc"}, {use="itm"}, {use="itg"}]'
QFORMER = (
    'model.token_sampler={use="qformer", queries=4, width=32, layers=2, heads=2, mlp_width=64, '
    "compare_width=16}"
)


def recipe(*changes: str, name: str = "mini", objectives: str = ALL, train: str = ""):
    words = [QFORMER, f"stages.captions.objectives={objectives}", f"name={name}", *changes]
    words += [f"stages.captions.train={train}"] if train else []
    return mmcore.load_recipe("mini.toml", words)


def losses(workplace, run: str) -> list[dict[str, float]]:
    wanted = ("loss", "itc", "itm", "itg", "grad_norm")
    return [
        {name: value for name, value in line.items() if name.split("/")[0] in wanted}
        for line in workplace.metrics(run)
    ]


def test_all_four_learn_resume_and_validate(workplace) -> None:
    changes = (
        "stages.captions.steps=6",
        "stages.captions.optimizer.lr=6e-3",
        "validation={share=0.2, rows=12, every_steps=3}",
        "evaluations=[]",
        "stages.answers.steps=1",
        "checkpoints.every_steps=100",
    )
    mmcore.run(recipe(*changes))
    whole = losses(workplace, "mini")
    captions = whole[:6]
    for name in ("autoregressive", "itg"):
        assert captions[-1][f"loss/{name}"] < captions[0][f"loss/{name}"] - 0.2, name
    assert captions[-1]["loss"] < captions[0]["loss"] - 0.5
    assert {one["itc/candidates"] for one in captions} == {6.0}
    # The next stage has the one objective of BLIP-3, and what reads texts is frozen in it.
    assert not {"itc/candidates", "loss/itg"} & whole[-1].keys()
    assert "grad_norm/token_sampler" in whole[-1]

    mmcore.run(recipe(*changes, name="twice"), max_steps=2)
    mmcore.run(recipe(*changes, name="twice"))
    assert losses(workplace, "twice") == whole

    path = workplace.folder / "runs" / "mini" / "validations.jsonl"
    first, second, *_ = (json.loads(line)["values"] for line in path.read_text().splitlines())
    assert second["validation/loss"] < first["validation/loss"]
    for name in ("loss/itc", "loss/itm", "loss/itg", "itc/accuracy", "itm/accuracy", "itg/nll"):
        assert f"validation/{name}" in first


def test_without_the_llm_what_leads_to_it_stays_as_it_was(workplace) -> None:
    """BLIP-2's first stage: the LLM is not entered, and its tokens have nothing to learn from."""
    train = '["encoder", "token_sampler"]'
    stage1 = recipe(objectives=BLIP2, train=train)
    mmcore.run(stage1, max_steps=2)
    (path,) = [
        one for one in (workplace.folder / "runs/mini/checkpoints").iterdir() if one.is_dir()
    ]
    after = {state.name: state for state in checkpoint.load(path).states()}
    moved = {name for name, state in after.items() if state.steps}
    assert any(name.startswith("token_sampler.itm_head") for name in moved)
    assert any(name.startswith("encoder.") for name in moved)
    assert not any(name.startswith(("llm.", "token_sampler.language")) for name in moved)
    (line, *_) = workplace.metrics()
    assert "loss_by_source/blip3-ocr" not in line  # nobody asked what the text's tokens lose
    assert line["time/sample"] > 0


def faults(*words: str) -> list[str]:
    try:
        mmcore.load_recipe("mini.toml", words)
    except RecipeError as error:
        return [str(fault) for fault in error.faults]
    return []


def test_a_perceiver_provides_nothing_to_match(workplace) -> None:
    words = 'stages.captions.objectives=[{use="itm"}]', 'stages.captions.train=["encoder"]'
    (fault,) = faults(*words)
    assert "'itm' needs contrast, match of the token sampler" in fault
    assert "'perceiver' provides nothing beyond tokens" in fault


def test_a_stage_trains_no_part_that_its_objectives_do_not_reach(workplace) -> None:
    (fault,) = faults(QFORMER, f"stages.captions.objectives={BLIP2}")
    assert "trains 'llm', and no objective of the stage reaches it: 'itc', 'itm', 'itg'" in fault
    assert "they reach encoder and token_sampler" in fault
    assert faults(QFORMER, f"stages.captions.objectives={ALL}") == []


def test_pictures_in_several_views_are_no_pairs(workplace) -> None:
    (fault,) = faults(QFORMER, 'stages.answers.objectives=[{use="itg"}, {use="autoregressive"}]')
    assert "'itg' compares a picture in one view with its text" in fault


def test_an_early_stop_may_watch_an_objectives_validation(workplace) -> None:
    watched = "stages.captions.early_stop={measure='validation/loss/itg', patience=2}"
    table = "validation={share=0.2, rows=12, every_steps=2}"
    assert faults(QFORMER, f"stages.captions.objectives={ALL}", watched, table) == []
    (fault,) = faults(watched, table)
    assert "which a validation of this stage does not measure" in fault
