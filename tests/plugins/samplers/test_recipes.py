"""What the samplers refuse in a recipe, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

import mmcore
from mmcore.recipe import RecipeError

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
