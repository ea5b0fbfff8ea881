"""The shipped recipes against what the paper says of BLIP-3's stages and mixtures."""

from pathlib import Path

import pytest

from mmcore.planning.costs import Costs
from mmcore.recipe import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"

BASE = {
    "mint1t-html": 17.5,
    "mint1t-pdf": 12.5,
    "mint1t-arxiv": 2.5,
    "obelics": 17.5,
    "blip3-kale": 25,
    "datacomp": 10,
    "blip3-ocr": 5,
    "blip3-grounding": 5,
    "cc12m": 1.25,
    "cc3m": 1.25,
    "sbu": 1.25,
    "visual-genome": 1.25,
}
ANYRES = {
    **{name: share for name, share in BASE.items() if name != "blip3-ocr"},
    "blip3-kale": 10,
    "datacomp": 2.5,
    "blip3-grounding": 2.5,
    "blip3-ocr-hd": 10,
    "idl": 10,
}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_sound(path):
    load_recipe(path)


@pytest.mark.parametrize("name", ["blip3_4b", "blip3_14b"])
def test_stages_and_mixtures_are_the_papers(name):
    recipe = load_recipe(RECIPES / f"{name}.toml")
    base, anyres, single, multi = recipe.stages
    assert [stage.tokens for stage in recipe.stages] == [100e9, 30e9, 6e9, 4e9]
    assert {source.name: source.share for source in base.data} == BASE
    assert {source.name: source.share for source in anyres.data} == ANYRES
    assert sum(BASE.values()) == 100
    assert sum(ANYRES.values()) == 90  # the paper does not say where the other ten points go
    assert base.tiler.max_views == 1
    for stage in (anyres, single, multi):
        assert stage.tiler.max_views == 13
        assert max(max(grid) for grid in stage.tiler.grids) == 4
    for stage in (base, anyres):
        assert [part.part for part in stage.train] == ["token_sampler", "llm"]
    for stage in (single, multi):
        rates = {part.part: part.lr or stage.optimizer.lr for part in stage.train}
        assert rates["encoder"] < rates["llm"] == rates["token_sampler"]
        assert {source.name for source in stage.data} == {"llava-json"}


def test_the_14b_differs_from_the_4b_in_little():
    small, large = (load_recipe(RECIPES / f"blip3_{size}.toml") for size in ("4b", "14b"))
    assert (large.model.llm.width, large.model.llm.heads, large.model.llm.kv_heads) == (
        5120,
        40,
        10,
    )
    assert large.model.token_sampler == small.model.token_sampler
    for before, after in zip(small.stages, large.stages, strict=True):
        assert after.data == before.data
        assert after.tiler == before.tiler
        assert after.optimizer.lr < before.optimizer.lr
        assert after.optimizer.warmup_steps == before.optimizer.warmup_steps


@pytest.mark.parametrize(
    "keys",
    [[], ["model.llm.variant=mini-4k-instruct", 'stages.dpo.train=[{part="llm", lora={rank=61}}]']],
)
def test_post_training_touches_the_papers_share_of_the_llm(keys):
    recipe = load_recipe(RECIPES / "blip3_dpo.toml", keys)
    stage = recipe.stages[-1]
    assert [source.name for source in stage.data] == ["vlfeedback", "prepared-pairs"]
    assert stage.epochs == 1
    [llm] = [part for part in Costs(recipe).parts(stage) if part.part == "llm"]
    assert round(100 * llm.trainable / llm.frozen, 1) == 2.5
