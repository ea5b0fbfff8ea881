"""A picture that was reduced while it was decoded is cut as the whole one was planned."""

import numpy as np
import pytest
from PIL import Image

from mmcore.interfaces import ViewFormat
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec

SMALL = ViewFormat(size=28, patch_rows=2, patch_cols=2, patch_size=14)


def smooth(width, height):
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(3 * x / width + y / height), np.cos(4 * y / height), x / width - 0.5]
    return Image.fromarray((128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8))


def test_nothing_is_reduced_by_default():
    for tiler in (SingleTilerSpec(), AnyResTilerSpec()):
        assert tiler.least_size(tiler.plan(4000, 3000, SMALL), SMALL) is None


def test_least_size_is_what_the_picture_is_resized_to():
    single = SingleTilerSpec(reduced_decoding=True)
    assert single.least_size(single.plan(4000, 3000, SMALL), SMALL) == (28, 28)
    tiler = AnyResTilerSpec(reduced_decoding=True, grids=((2, 2),))
    # 4000 x 3000 becomes 56 x 42, in the middle of 56 x 56; it must not be too small for 28 x 28.
    assert tiler.least_size(tiler.plan(4000, 3000, SMALL), SMALL) == (56, 42)
    assert tiler.least_size(tiler.plan(4000, 300, SMALL), SMALL) == (56, 28)


def test_a_plan_says_which_sizes_may_be_decoded():
    plan = SingleTilerSpec().plan(401, 300, SMALL)
    assert plan.decoded_sizes() == [(401, 300)]
    assert plan.decoded_sizes((28, 28)) == [(401, 300), (201, 150), (101, 75), (51, 38)]
    assert plan.decoded_sizes((102, 28)) == [(401, 300), (201, 150)]
    assert plan.decoded_sizes((28, 151)) == [(401, 300)]


@pytest.mark.parametrize("resize", ["fast", "exact"])
@pytest.mark.parametrize("merge", ["tiles", "raster-bands", "picture"])
@pytest.mark.parametrize("size", [(400, 301), (300, 401), (800, 90)])
def test_grid_and_mask_are_those_of_the_whole_picture(resize, merge, size):
    tiler = AnyResTilerSpec(reduced_decoding=True, resize=resize, merge=merge)
    whole, plan = smooth(*size), tiler.plan(*size, SMALL)
    least_size = tiler.least_size(plan, SMALL)
    wanted = tiler.cut(whole, plan, SMALL)
    smaller = plan.decoded_sizes(least_size)[1:]
    assert smaller, "the test must reduce"
    for width, height in smaller:
        reduced = whole.resize((width, height), Image.Resampling.BOX)
        tiles = tiler.cut(reduced, plan, SMALL)
        np.testing.assert_array_equal(tiles.patch_mask_NP, wanted.patch_mask_NP)
        if wanted.patch_order_NP is not None:
            np.testing.assert_array_equal(tiles.patch_order_NP, wanted.patch_order_NP)
        difference = np.abs(tiles.pixels_NCHW.astype(np.int16) - wanted.pixels_NCHW)
        assert difference.mean() < 1
        assert difference.max() <= 8


def test_half_a_picture_is_refused_where_nothing_is_reduced():
    tiler = SingleTilerSpec()
    with pytest.raises(ValueError, match="wanted RGB of 400 x 300 as planned"):
        tiler.cut(smooth(200, 150), tiler.plan(400, 300, SMALL), SMALL)
