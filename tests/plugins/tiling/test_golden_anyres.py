"""anyres gives the grids, pixels and masks of the official BLIP-3 code."""

import hashlib

import numpy as np
import pytest

from mmcore_tiling.spec import AnyResTilerSpec

TILER = AnyResTilerSpec(resize="exact")
BANDS = AnyResTilerSpec(resize="exact", merge="raster-bands")


def mosaic(mask_NP, plan, view):
    """The per-tile masks put together again as the map of the whole canvas."""
    tiles = mask_NP.reshape(plan.rows, plan.cols, view.patch_rows, view.patch_cols)
    rows = [np.concatenate(list(row), axis=1) for row in tiles]
    return np.concatenate(rows, axis=0)


@pytest.mark.parametrize("base", [28, 384])
def test_pixels_and_masks(base, golden, draw, view_of):
    described, tensors = golden(f"anyres_base{base}")
    view = view_of(base)
    for image in described["images"]:
        (width, height), index = image["size_wh"], image["index"]
        picture = draw(width, height, index)
        assert hashlib.sha256(picture.tobytes()).hexdigest() == image["image_sha256"]

        plan = TILER.plan(width, height, view)
        assert [plan.cols, plan.rows] == image["grid_wh"]
        tiles = TILER.cut(picture, plan, view)
        assert list(tiles.pixels_NCHW.shape) == image["patches_shape"]

        # The official code normalises before it stores; its numbers are those of torchvision.
        values = tiles.pixels_NCHW.astype(np.float32) / np.float32(255)
        normalised = (values - np.float32(0.5)) / np.float32(0.5)
        label = f"img{index:02}_{width}x{height}"
        exact = tensors.get(f"{label}.patches")
        if exact is not None:
            np.testing.assert_array_equal(normalised, exact)
        sampled = tensors.get(f"{label}.patches_s48")
        if sampled is not None:
            np.testing.assert_array_equal(normalised[:, :, 5::48, 7::48], sampled)
        np.testing.assert_allclose(normalised.mean((1, 2, 3)), image["per_patch_mean"], atol=1e-6)

        assert tiles.patch_mask_NP[0].all()
        shown = mosaic(tiles.patch_mask_NP[1:], plan, view)
        np.testing.assert_array_equal(shown, tensors[f"{label}.mask_map"].astype(bool))
        kept = tiles.patch_mask_NP[1:].sum(axis=1).tolist()
        assert kept == image["mask_per_group_kept_if_tiles"]
        strips_NP = BANDS.cut(picture, plan, view).patch_mask_NP[1:]
        assert strips_NP.sum(axis=1).tolist() == image["mask_per_group_kept_official_strips"]


def test_golden_files_hold_pixels_of_every_kind(golden):
    # A renamed tensor must not make the comparison above vacuous.
    for name, wanted in (("anyres_base28", "patches"), ("anyres_base384", "patches_s48")):
        described, tensors = golden(name)
        held = {key for key in tensors if key.endswith("." + wanted)}
        assert len(held) == len(described["images"]) == 16


def test_selection_table(selection_table, view_of):
    assert len(selection_table) == 300
    for row in selection_table:
        view = view_of(row["base"])
        plan = TILER.plan(row["width"], row["height"], view)
        assert (plan.cols, plan.rows) == (row["grid_w"], row["grid_h"]), row
        shown = kept_rectangle(plan, view)
        wanted = (row["row_min"], row["row_max"], row["col_min"], row["col_max"])
        assert shown == (row["mask_kept"], *wanted), row


def kept_rectangle(plan, view):
    from mmcore_tiling.grids import place_patches

    map_cols, map_rows = plan.cols * view.patch_cols, plan.rows * view.patch_rows
    place = place_patches(plan.width, plan.height, map_cols, map_rows)
    count = place.width * place.height
    if not count:
        return 0, -1, -1, -1, -1
    bottom, right = place.top + place.height - 1, place.left + place.width - 1
    return count, place.top, bottom, place.left, right
