"""What a page shows of a picture is what the encoder gets of it."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mmcore.data.tokenized import PlannedPicture
from mmcore.inspection.pictures import data_uri, hidden_patches, show, shown_patches
from mmcore.interfaces import ImageRef, ViewFormat
from mmcore_registry import discover

VIEW = ViewFormat(size=28, patch_rows=7, patch_cols=7, patch_size=4)


def opened(uri):
    kind, _, data = uri.partition(";base64,")
    return kind, Image.open(io.BytesIO(base64.b64decode(data)))


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_rectangles_are_exactly_what_the_mask_hides(shown):
    painted = np.zeros(shown.shape, dtype=int)
    for one in hidden_patches(shown):
        painted[one.top : one.top + one.height, one.left : one.left + one.width] += 1
    assert np.array_equal(painted, (~shown).astype(int))


def test_a_border_is_one_rectangle():
    shown = np.ones((27, 27), dtype=bool)
    shown[:4] = False
    assert len(list(hidden_patches(shown))) == 1


@pytest.mark.parametrize("merge", ["raster-bands", "picture"])
@pytest.mark.parametrize("size", [(90, 40), (40, 100), (64, 45)])
def test_a_mask_in_groups_is_the_mask_in_views(merge, size):
    """Whatever order the sampler is given, the patches that are hidden stay where they are."""
    anyres = discover().get("tiler", "anyres")
    image = Image.new("RGB", size, "green")
    seen = {}
    for kind in ("tiles", merge):
        tiler = anyres(merge=kind)
        tiles = tiler.cut(image, tiler.plan(*size, VIEW), VIEW)
        seen[kind] = shown_patches(tiles, VIEW)
    assert np.array_equal(seen["tiles"], seen[merge])
    assert not seen[merge].all()


def test_whole_views_stand_before_the_grid():
    tiler = discover().get("tiler", "anyres")(max_tiles=6)
    image = Image.effect_noise((90, 40), 80).convert("RGB")
    plan = tiler.plan(*image.size, VIEW)
    tiles = tiler.cut(image, plan, VIEW)
    shown = show(PlannedPicture(ImageRef(path="a.png"), plan, 0), tiles, VIEW, 16)
    assert (shown.cols, shown.rows) == (plan.cols, plan.rows)
    assert (len(shown.wholes), len(shown.tiles)) == (1, plan.cols * plan.rows)
    assert shown.tokens == 16 * plan.views
    for one, pixels in zip([*shown.wholes, *shown.tiles], tiles.pixels_NCHW, strict=True):
        assert np.array_equal(np.asarray(opened(one.uri)[1]), pixels.transpose(1, 2, 0))


def test_large_views_are_reduced():
    kind, image = opened(data_uri(np.full((3, 384, 384), 200, dtype=np.uint8)))
    assert kind == "data:image/jpeg"
    assert image.size == (224, 224)
    assert np.abs(np.asarray(image).astype(int) - 200).max() <= 2
