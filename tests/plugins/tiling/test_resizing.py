"""Fast resizing gives Pillow's pixels within one grey level, whatever the size and the picture."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmcore.interfaces import ViewFormat
from mmcore_tiling import resizing
from mmcore_tiling.resizing import has_kernel, resize_exactly, resize_fast
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec

VIEW = ViewFormat(size=384, patch_rows=27, patch_cols=27, patch_size=14)
KINDS = ("noise", "black and white", "stripes", "smooth", "flat")


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Use the kernel for small pictures too."""
    monkeypatch.setattr(resizing, "_FEW_PIXELS", 0)


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
def test_within_one_grey_level(kind, width, height, new_width, new_height, seed):
    (found,) = differences(picture(kind, width, height, seed), (new_width, new_height))
    assert found.shape == (3, new_height, new_width)
    assert found.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "size",
    [
        (768, 576),
        (384, 384),
        # Ratios of small whole numbers: many sums lie just between two levels.
        (1152, 864),
        (1536, 1152),
        # Lowered before it is narrowed, by a Pillow that chooses.
        (1000, 333),
        (2000, 100),
        (1024, 768),
        (1, 1),
    ],
)
def test_large_pictures(kind, size):
    (found,) = differences(picture(kind, 1024, 768), size)
    assert found.max() <= 1
    assert found.mean() < 0.01


@pytest.mark.parametrize("size", [(300, 500), (777, 500), (600, 100), (600, 801), (600, 500)])
def test_one_direction_alone_is_exact(size):
    # What is made first must be: errors of both directions would add up.
    for kind in KINDS:
        (found,) = differences(picture(kind, 600, 500), size)
        assert found.max() == 0


def test_many_sizes_at_once_come_in_their_order():
    sizes = [(50, 60), (200, 90), (120, 30), (50, 60), (300, 10)]
    found = differences(picture("noise", 120, 90), *sizes)
    assert [one.shape[1:] for one in found] == [(h, w) for w, h in sizes]
    assert max(one.max() for one in found) <= 1


def test_the_kernel_is_used_where_it_pays(monkeypatch):
    calls = []
    sums = resizing._sums
    monkeypatch.setattr(resizing, "_sums", lambda *words: calls.append(1) or sums(*words))
    resize_fast(picture("noise", 300, 300), [(90, 90)])
    assert len(calls) == has_kernel()
    monkeypatch.setattr(resizing, "_FEW_PIXELS", 2**20)
    resize_fast(picture("noise", 300, 300), [(90, 90)])
    assert len(calls) == has_kernel()
    if platform.machine() == "x86_64":
        assert has_kernel()


def test_without_the_kernel_it_is_pillow(monkeypatch):
    monkeypatch.setattr(resizing, "has_kernel", lambda: False)
    (found,) = differences(picture("noise", 333, 222), (500, 555))
    assert found.max() == 0


@pytest.mark.parametrize("size", [(1024, 768), (500, 1400), (90, 2000), (130, 70)])
@pytest.mark.parametrize("kind", ["noise", "smooth"])
@pytest.mark.parametrize("make", [SingleTilerSpec, AnyResTilerSpec])
def test_tiles_within_one_grey_level(make, kind, size):
    fast, exact = make(resize="fast"), make(resize="exact")
    image, plan = picture(kind, *size), fast.plan(*size, VIEW)
    tiles, wanted = fast.cut(image, plan, VIEW), exact.cut(image, plan, VIEW)
    difference = np.abs(tiles.pixels_NCHW.astype(np.int16) - wanted.pixels_NCHW)
    assert difference.max() <= 1
    np.testing.assert_array_equal(tiles.patch_mask_NP, wanted.patch_mask_NP)
