"""What the samplers refuse in a recipe, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmcore
from mmcore.recipe import RecipeError
from mmcore_samplers.qformer_spec import QFormerSpec

TINY = Path(__file__).parents[3] / "recipes" / "blip3_tiny.toml"


def refused(*changes):
    with pytest.raises(RecipeError) as caught:
        mmcore.load_recipe(TINY, list(changes))
    return str(caught.value)


@pytest.mark.parametrize(
    "sampler",
    [
        "model.token_sampler={use = 'mlp', pool = 2}",
        "model.token_sampler={use = 'pixel-shuffle'}",
        "model.token_sampler={use = 'c-abstractor', token_rows = 2}",
    ],
)
def test_patches_of_several_views_are_no_grid(sampler):
    bands = "stages.*.tiler={use = 'anyres', merge = 'raster-bands'}"
    assert "must know where in its view a patch is" in refused(sampler, bands)
    mmcore.load_recipe(TINY, ["model.token_sampler={use = 'mlp'}", bands])


def test_a_grid_that_the_cells_do_not_divide():
    changes = ["model.encoder.image_size=80", "model.token_sampler={use = 'mlp', pool = 2}"]
    assert "does not fit the encoder's views of 5 x 5 patches: pool is 2, wanted" in refused(
        *changes
    )


PAIRS = "stages.pretrain-base.objectives=[{use = 'itc'}, {use = 'itm'}, {use = 'itg'}]"
TRAINS = "stages.pretrain-base.train=['token_sampler']"
QFORMER = "model.token_sampler={use = 'qformer'}"


def test_objectives_that_compare_want_a_sampler_that_reads():
    said = refused(PAIRS, TRAINS)
    for objective, need in (("itc", "contrast"), ("itm", "contrast, match"), ("itg", "caption")):
        assert (
            f"{objective!r} needs {need} of the token sampler; 'perceiver' provides nothing "
            "beyond tokens" in said
        )
    said = refused(PAIRS, TRAINS, "model.token_sampler={use = 'qformer', text_tower = false}")
    assert (
        "'itm' needs contrast, match of the token sampler; 'qformer' provides nothing beyond"
        in said
    )
    mmcore.load_recipe(TINY, [PAIRS, TRAINS, QFORMER])


def test_objectives_that_compare_want_pictures_of_one_view():
    tiler = "stages.pretrain-base.tiler={use = 'anyres'}"
    said = refused(PAIRS, TRAINS, QFORMER, tiler)
    assert "'itc' compares a picture in one view with its text; the tiler 'anyres' makes up" in said


def test_an_objective_is_named_once():
    said = refused(PAIRS.replace("itg", "itc"), TRAINS, QFORMER)
    assert ".objectives.2.use: 'itc' is an objective of the stage already" in said


def test_another_sampler_begins_from_its_own_defaults():
    recipe = mmcore.load_recipe(TINY.parent / "blip3_14b.toml", ["model.token_sampler.use=qformer"])
    assert recipe.model.token_sampler == QFormerSpec()
