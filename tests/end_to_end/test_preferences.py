"""Preference pairs as a user learns from them: live, prepared, or beside another model."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch

from mmcore.frozen import FrozenModelError, check_frozen_models, frozen_models
from mmcore.recipe import load_recipe
from mmcore.training import checkpoint

LN2 = pytest.approx(math.log(2), abs=1e-5)

STAGE = """
[[stages]]
name = "dpo"
train = [{ part = "llm", lora = { rank = 4 } }]
steps = 4
tiler = { use = "single" }
objectives = [{ use = "dpo", beta = 0.5 }]
batch = { max_tokens = 192, max_views = 4, packs_per_step = 4 }
optimizer = { use = "adamw", lr = 2e-2 }

[[stages.data]]
use = "preference-pairs"
path = "data/pairs/*.jsonl"
synthetic = { rows = 24, seed = 1 }
"""


@pytest.fixture
def pairs(workplace):
    """``pairs.toml``: the mini recipe with this stage alone."""
    text = (workplace.folder / "mini.toml").read_text()
    head, _, rest = text.partition("[[stages]]")
    engine = rest[rest.index("[engine]") :]
    recipe = head.replace('name = "mini"', 'name = "pairs"') + STAGE + "\n" + engine
    (workplace.folder / "pairs.toml").write_text(recipe)
    return workplace


def first_loss(place, run: str) -> float:
    return place.losses(run)[1]


def test_live_then_prepared_then_beside_a_folder(pairs) -> None:
    pairs.mmcore("run", "pairs.toml")
    losses = pairs.losses("pairs")
    assert losses[1] == LN2, "a fresh adapter is its own reference"
    assert losses[4] < losses[1] - 0.01, losses

    told = pairs.mmcore(
        "data", "prepare-dpo", "pairs.toml", "--model", "runs/pairs", "-o", "ready",
        "--noise", "500", "--max-new-tokens", "4", "--rows-per-file", "10",
    )  # fmt: skip
    assert "24 rows; the pairs are in ready" in told
    assert "with the preferred answer likelier" in told
    assert "pairs by noise, step 500" in told
    again = pairs.mmcore(
        "data", "prepare-dpo", "pairs.toml", "--model", "runs/pairs", "-o", "ready",
        "--noise", "500", "--max-new-tokens", "4", "--rows-per-file", "10",
    )  # fmt: skip
    assert again == told

    text = (pairs.folder / "pairs.toml").read_text()
    rows = text[text.index("[[stages.data]]") : text.index("[engine]")]
    ready = '[[stages.data]]\nuse = "prepared-pairs"\npath = "ready/*.jsonl"\n\n'
    changed = text.replace(rows, ready).replace('"pairs"\nseed', '"ready"\nseed')
    changed = changed.replace('use = "dpo",', 'use = "dpo", reference = "data",')
    (pairs.folder / "ready.toml").write_text(changed)
    pairs.mmcore("run", "ready.toml", "--from", "runs/pairs")
    assert first_loss(pairs, "ready") == LN2, "the model begins as what the pairs were asked of"

    beside = [
        *("--set", "name=beside", "--set", "stages.dpo.objectives.0.reference=runs/pairs"),
        *("--set", 'stages.dpo.train=["token_sampler", "llm"]'),
    ]
    pairs.mmcore("run", "pairs.toml", *beside, "--from", "runs/pairs")
    losses = pairs.losses("beside")
    assert losses[1] == LN2
    assert losses[4] != LN2, "the model in the folder learns as well"
    newest = checkpoint.latest(pairs.folder / "runs" / "beside" / "checkpoints")
    names = set(checkpoint.load(newest).manifest.tensors)
    recipe = load_recipe("pairs.toml", beside[1::2])
    [frozen] = frozen_models(recipe, recipe.stages[0], torch.device("cpu")).values()
    assert names == {name for name, _ in frozen.named_parameters()}, "it is in no checkpoint"
    assert not any(one.requires_grad for one in frozen.parameters())

    other = ["model.token_sampler.queries=2", "stages.dpo.objectives.0.reference=runs/pairs"]
    with pytest.raises(FrozenModelError, match=r"stages\.dpo\.objectives: the model of 'runs/pai"):
        check_frozen_models(load_recipe("pairs.toml", other), Path("runs/other"))
    with pytest.raises(FrozenModelError, match="is this run itself, and changes with every"):
        check_frozen_models(load_recipe("pairs.toml", other), Path("runs/pairs"))
    text = pairs.mmcore("plan", "pairs.toml", "--set", other[1])
    assert "the weights of the model in 'runs/pairs', which every GPU" in " ".join(text.split())

    wrong = pairs.mmcore(
        "run", "ready.toml", "--set", "name=wrong", "--set", 'stages.dpo.tiler={ use = "anyres" }',
        "--from", "runs/pairs", fails=True,
    )  # fmt: skip
    assert "other-tokens" in wrong
    assert "prepare the pairs again with `mmcore data prepare-dpo`" in wrong
    assert not (pairs.folder / "runs" / "wrong" / "checkpoints").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only")
def test_ranks_stay_in_step_where_one_of_them_runs_blank_packs(pairs) -> None:
    three = ("--set", "data.lanes=3", "--set", "stages.dpo.batch.packs_per_step=3")
    pairs.mmcore("run", "pairs.toml", *three)
    pairs.typed(
        *("run", "pairs.toml", "--procs", "2", "--set", "name=two", *three),
        *("--set", "engine.use=deepspeed", "--set", "engine.zero=3"),
        *("--set", "engine.precision=fp32"),
    )
    assert pairs.losses("two") == pytest.approx(pairs.losses("pairs"), rel=1e-5)


@pytest.mark.slow
def test_a_stage_of_them_is_rehearsed_and_goes_on_after_a_stop(pairs) -> None:
    keys = [
        *("--set", 'stages.dpo.objectives=[{ use = "kl-distill", teacher = "nowhere" }]'),
        *("--set", 'stages.dpo.data.0.learn="preferred"'),
    ]
    told = pairs.mmcore("run", "pairs.toml", "--rehearse", *keys)
    assert "nowhere -> one of its own form with random weights" in told
    assert "rehearsed all 1 stages" in told
    lines = (pairs.folder / "runs" / "pairs-rehearsal" / "metrics.jsonl").read_text().splitlines()
    losses = [one["loss"] for one in map(json.loads, lines) if "loss" in one]
    assert losses
    assert min(losses) > 0
