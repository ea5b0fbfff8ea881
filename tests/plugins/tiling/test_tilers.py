"""What the tilers promise beyond the golden numbers: limits, shorthand, faults."""

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmcore.interfaces import ViewFormat
from mmcore.testing import check_tiler
from mmcore_tiling.grids import BLIP3_GRIDS, grids_up_to, place_pixels
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec

VIEW = ViewFormat(size=384, patch_rows=27, patch_cols=27, patch_size=14)
SMALL = ViewFormat(size=28, patch_rows=2, patch_cols=2, patch_size=14)


def test_single_squashes_the_whole_picture():
    tiler = SingleTilerSpec()
    picture = Image.new("RGB", (90, 30), (10, 20, 30))
    tiles = tiler.cut(picture, tiler.plan(90, 30, VIEW), VIEW)
    assert tiles.pixels_NCHW.shape == (1, 3, 384, 384)
    assert tiles.pixels_NCHW.dtype == np.uint8
    assert tiles.pixels_NCHW.flags.c_contiguous
    np.testing.assert_array_equal(tiles.pixels_NCHW[0, :, 0, 0], [10, 20, 30])
    assert tiles.patch_mask_NP.shape == (1, 729)
    assert tiles.patch_mask_NP.all()
    assert tiler.max_views == 1


def test_tiles_are_row_major():
    # Four quarters of one colour each; every tile must show its own quarter.
    quarters = np.array([[10, 60], [110, 160]], dtype=np.uint8).repeat(28, 0).repeat(28, 1)
    picture = Image.fromarray(np.stack([quarters] * 3, axis=-1))
    tiler = AnyResTilerSpec(grids=((2, 2),))
    tiles = tiler.cut(picture, tiler.plan(56, 56, SMALL), SMALL)
    assert tiles.pixels_NCHW[1:].max((1, 2, 3)).tolist() == [10, 60, 110, 160]
    assert tiles.pixels_NCHW[1:].min((1, 2, 3)).tolist() == [10, 60, 110, 160]


def test_bands_run_across_the_whole_canvas():
    tiler = AnyResTilerSpec(grids=((2, 1),), merge="raster-bands")
    tiles = tiler.cut(Image.new("RGB", (56, 28)), tiler.plan(56, 28, SMALL), SMALL)
    # Thumbnail 0-3; the left tile's patches are 4-7, the right one's 8-11.
    assert tiles.patch_order_NP.tolist() == [[0, 1, 2, 3], [4, 5, 8, 9], [6, 7, 10, 11]]


def test_one_column_has_no_bands():
    tiler = AnyResTilerSpec(grids=((1, 3),), merge="raster-bands")
    picture, plan = Image.new("RGB", (28, 84)), tiler.plan(28, 84, SMALL)
    assert tiler.cut(picture, plan, SMALL).patch_order_NP is None


def test_a_whole_picture_is_one_group_without_its_border():
    # Twice as wide as high, on a canvas of 2 x 2 tiles: its upper and lower rows are border.
    tiler = AnyResTilerSpec(grids=((2, 2),), merge="picture")
    plan = tiler.plan(56, 28, SMALL)
    tiles = tiler.cut(Image.new("RGB", (56, 28)), plan, SMALL)
    assert (plan.views, plan.groups, tiler.max_groups) == (5, 1, 1)
    assert tiles.patch_order_NP.tolist() == [list(range(20))]
    thumbnail, upper, lower = [True] * 4, [False, False, True, True], [True, True, False, False]
    assert tiles.patch_mask_NP.tolist() == [thumbnail + upper * 2 + lower * 2]


@pytest.mark.parametrize("merge", ["tiles", "raster-bands", "picture"])
def test_any_grids_keep_the_tilers_promises(merge):
    check_tiler(AnyResTilerSpec(max_tiles=6, merge=merge), SMALL)
    check_tiler(AnyResTilerSpec(max_tiles=6, merge=merge, reduced_decoding=True), SMALL)


@given(
    width=st.integers(1, 5000), height=st.integers(1, 5000), limit=st.integers(1, 14) | st.none()
)
@settings(deadline=None, max_examples=100)
def test_plan_keeps_its_limit(width, height, limit):
    tiler = AnyResTilerSpec(max_tiles=12)
    plan = tiler.plan(width, height, VIEW, limit)
    assert plan.views == 1 + plan.cols * plan.rows
    assert plan.views <= (limit or tiler.max_views) <= 14
    if limit is None or limit >= 3:
        assert plan.views >= 3


@given(width=st.integers(1, 3000), height=st.integers(1, 3000), grid=st.sampled_from(BLIP3_GRIDS))
@settings(deadline=None, max_examples=100)
def test_picture_fills_one_side_and_never_leaves_the_canvas(width, height, grid):
    canvas = grid[0] * 384, grid[1] * 384
    place = place_pixels(width, height, *canvas)
    assert place.width == canvas[0] or place.height == canvas[1]
    assert place.left >= 0
    assert place.left + place.width <= canvas[0]
    assert place.top + place.height <= canvas[1]
    assert min(place.width, place.height) >= 1


def test_only_the_thumbnail_when_no_grid_fits():
    tiler = AnyResTilerSpec()
    plan = tiler.plan(800, 800, VIEW, 2)
    assert (plan.cols, plan.rows, plan.views) == (0, 0, 1)
    picture = Image.new("RGB", (800, 800))
    assert tiler.cut(picture, plan, VIEW).pixels_NCHW.shape[0] == 1


def test_small_picture_is_cut_unless_told_otherwise():
    assert AnyResTilerSpec().plan(100, 100, VIEW).views == 3
    lenient = AnyResTilerSpec(small_as_single=True)
    assert lenient.plan(384, 384, VIEW).views == 1
    assert lenient.plan(385, 384, VIEW).views > 1


def test_picture_too_thin_for_a_patch_is_masked_away():
    tiler = AnyResTilerSpec()
    tiles = tiler.cut(Image.new("RGB", (180, 3)), tiler.plan(180, 3, SMALL), SMALL)
    assert tiles.patch_mask_NP[0].all()
    assert not tiles.patch_mask_NP[1:].any()


def test_max_tiles_is_a_list_of_grids():
    assert grids_up_to(4, 4) == ((1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (2, 2), (4, 1))
    tiler = AnyResTilerSpec(max_tiles=12)
    assert tiler.max_views == 13
    assert (3, 4) in tiler.grids
    assert (4, 4) not in tiler.grids
    assert (1, 5) not in tiler.grids
    # A resolved recipe holds both keys, and must run as it is.
    assert AnyResTilerSpec(**attrs.asdict(tiler)) == tiler


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grids": ()}, "wanted at least one grid"),
        ({"max_tiles": 3, "max_side": 1}, "wanted at least one grid"),
        ({"grids": ((0, 2),)}, r"grids has \[0, 2\]"),
        ({"grids": ((1, 2), (1, 2))}, "every grid once"),
        ({"grids": ((1, 2),), "max_tiles": 4}, "contradicts max_tiles = 4"),
        ({"max_tiles": 1}, "max_tiles"),
    ],
)
def test_contradicting_keys_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        AnyResTilerSpec(**keys)


@pytest.mark.parametrize("picture", [Image.new("L", (90, 30)), Image.new("RGB", (30, 90))])
def test_another_picture_than_planned_is_refused(picture):
    tiler = AnyResTilerSpec()
    with pytest.raises(ValueError, match="as planned"):
        tiler.cut(picture, tiler.plan(90, 30, VIEW), VIEW)
