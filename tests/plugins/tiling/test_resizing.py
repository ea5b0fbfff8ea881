"""Fast resizing gives Pillow's pixels within rounding, whatever the size and the picture."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmcore.benchmarks.pictures import photograph
from mmcore.interfaces import ViewFormat
from mmcore_tiling.resizing import resize_exactly, resize_fast
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec

VIEW = ViewFormat(size=384, patch_rows=27, patch_cols=27, patch_size=14)
KINDS = ("noise", "black and white", "stripes", "smooth", "flat")


def picture(kind, width, height, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "noise":
        pixels = rng.integers(0, 256, (height, width, 3))
    elif kind == "black and white":
        pixels = rng.integers(0, 2, (height, width, 3)) * 255
    elif kind == "stripes":
        pixels = rng.integers(0, 256, (height, 1, 3)).repeat(width, 1)
    elif kind == "smooth":
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / 9 + y / 23), np.cos(x / 31 - y / 7), np.sin((x + y) / 5)]
        pixels = 128 + 120 * np.stack(waves, axis=-1)
    else:
        pixels = np.full((height, width, 3), rng.integers(0, 256, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def differences(image, *sizes):
    pairs = zip(resize_fast(image, sizes), resize_exactly(image, sizes), strict=True)
    return [np.abs(fast.astype(np.int16) - exact) for fast, exact in pairs]


sides = st.integers(1, 400)


@given(st.sampled_from(KINDS), sides, sides, sides, sides, st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_within_rounding(kind, width, height, new_width, new_height, seed):
    (found,) = differences(picture(kind, width, height, seed), (new_width, new_height))
    assert found.shape == (3, new_height, new_width)
    assert found.max() <= 2
    assert (found > 1).sum() <= 4 + found.size / 2000


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size",
    [
        (768, 576),
        (384, 384),
        (1152, 864),
        (1536, 1152),
        (1000, 333),
        (2000, 100),
        (1024, 768),
        (1, 1),
    ],
)
def test_large_pictures_within_one_grey_level_almost_everywhere(kind, size):
    (found,) = differences(picture(kind, 1024, 768), size)
    assert found.max() <= 2
    assert (found > 1).mean() < 1e-4
    assert found.mean() < 0.04


@pytest.mark.parametrize("size", [(300, 500), (777, 500), (600, 100), (600, 801), (600, 500)])
def test_along_one_axis_alone_within_one_grey_level(size):
    for kind in KINDS:
        (found,) = differences(picture(kind, 600, 500), size)
        assert found.max() <= 1


def test_many_sizes_at_once_come_in_their_order():
    sizes = [(50, 60), (200, 90), (120, 30), (50, 60), (300, 10)]
    found = differences(picture("noise", 120, 90), *sizes)
    assert [one.shape[1:] for one in found] == [(h, w) for w, h in sizes]


@pytest.mark.parametrize("size", [(1024, 768), (500, 1400), (90, 2000), (130, 70)])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
@pytest.mark.parametrize("make", [SingleTilerSpec, AnyResTilerSpec])
def test_tiles_within_rounding(make, kind, size):
    fast, exact = make(resize="fast"), make(resize="exact")
    image, plan = picture(kind, *size), fast.plan(*size, VIEW)
    tiles, wanted = fast.cut(image, plan, VIEW), exact.cut(image, plan, VIEW)
    difference = np.abs(tiles.pixels_NCHW.astype(np.int16) - wanted.pixels_NCHW)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-4
    np.testing.assert_array_equal(tiles.patch_mask_NP, wanted.patch_mask_NP)


@pytest.mark.parametrize("seed", range(3))
def test_tiles_of_a_photograph_within_one_grey_level_but_for_a_few_values(seed):
    image = Image.open(io.BytesIO(photograph(1024, 768, seed))).convert("RGB")
    plan = AnyResTilerSpec().plan(1024, 768, VIEW)
    fast = AnyResTilerSpec(resize="fast").cut(image, plan, VIEW).pixels_NCHW
    exact = AnyResTilerSpec(resize="exact").cut(image, plan, VIEW).pixels_NCHW
    difference = np.abs(fast.astype(np.int16) - exact)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 1e-5
