"""The plain loop makes the tiler's pixels, and what is measured is said as it is."""

import io
import json
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from mmcore.benchmarks.pictures import (
    PictureTimes,
    grey_levels,
    measure_pictures,
    one_thread,
    photograph,
    plain_views,
)
from mmcore.cli.main import main
from mmcore.data.images import decode
from mmcore.interfaces import ViewFormat
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec

VIEW = ViewFormat(size=56, patch_rows=4, patch_cols=4, patch_size=14)


@pytest.mark.parametrize("size", [(130, 90), (90, 130), (300, 40), (30, 20)])
@pytest.mark.parametrize("make", [SingleTilerSpec, AnyResTilerSpec])
def test_plain_loop_makes_the_same_views(make, size):
    tiler, data = make(resize="exact"), photograph(*size)
    plan = tiler.plan(*size, VIEW)
    views = plain_views(data, plan, VIEW)
    assert views.dtype == torch.float32
    assert views.min() >= -1
    assert views.max() <= 1
    tiles = tiler.cut(decode(data), plan, VIEW)
    np.testing.assert_array_equal(grey_levels(views), tiles.pixels_NCHW)


def test_photograph_is_a_jpeg_that_compresses_like_one():
    data = photograph(320, 240)
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (320, 240))
    assert 0.1 < len(data) / (320 * 240) < 0.5, "bytes a pixel"
    assert data == photograph(320, 240)
    assert data != photograph(320, 240, seed=1)


def test_every_repeat_is_counted_and_the_pixels_compared():
    times = measure_pictures(AnyResTilerSpec(), VIEW, 200, 150, repeats=3)
    assert (times.width, times.height, times.views) == (200, 150, 5)
    assert times.encoded_bytes == len(photograph(200, 150))
    for seconds in (
        times.seconds,
        times.decode_seconds,
        times.cut_seconds,
        times.plain_seconds,
    ):
        assert len(seconds) == 3
        assert min(seconds) > 0
    assert times.largest_difference <= 1


def test_reduced_decoding_shows_in_the_difference():
    times = measure_pictures(SingleTilerSpec(reduced_decoding=True), VIEW, 400, 300, repeats=1)
    assert 0 < times.mean_difference < 10


def test_ratio_is_that_of_the_medians():
    slow, fast = [9.0, 4.0, 4.0], [2.0, 1.0, 2.0]
    assert PictureTimes(1, 1, 1, 1, fast, fast, fast, slow, 0, 0.0).ratio == 2.0


def test_threads_are_given_back():
    before = torch.get_num_threads()
    counted = ExitStack()
    counted.enter_context(one_thread())
    assert torch.get_num_threads() == 1
    counted.close()
    assert torch.get_num_threads() == before


def bench(request, *words):
    recipe = request.config.rootpath / "recipes" / "blip3_tiny.toml"
    words = ["bench", "data", str(recipe), "--only", "pictures", *words]
    return CliRunner().invoke(main, words)


def test_verb_measures_every_tiler_of_the_recipe(request):
    done = bench(request, "--size", "64x48", "--size", "50x90", "--repeats", "2", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["threads"] == 1
    assert found["cores"] >= 1
    single, anyres = found["pictures"]
    assert (single["tiler"]["use"], single["stages"]) == ("single", ["pretrain-base"])
    assert anyres["stages"] == ["pretrain-anyres", "sft-single", "sft-multi"]
    assert [(one["width"], one["height"]) for one in anyres["times"]] == [(64, 48), (50, 90)]
    assert len(anyres["times"][0]["seconds"]) == 2


def test_verb_prints_a_table(request):
    done = bench(request, "--size", "64x48", "--repeats", "1")
    assert done.exit_code == 0, done.output
    assert "pictures, tiler anyres, as in pretrain-anyres, sft-single, sft-multi" in done.stdout
    assert "  64x48" in done.stdout


@pytest.mark.parametrize("size", ["64", "0x4", "axb", "1x2x3"])
def test_verb_refuses_what_is_no_size(request, size):
    done = bench(request, "--size", size)
    assert done.exit_code == 2
    assert "wanted WIDTHxHEIGHT, as in 1024x768" in done.stderr
