"""Cut a decoded picture into views and mark the patches that show it.

Letters: N views, P patches of a view, C/H/W channels, height, width.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from mmcore.interfaces import TilePlan, Tiles, ViewFormat
from mmcore_tiling.grids import place_patches, place_pixels


def cut_picture(
    image: Image.Image,
    plan: TilePlan,
    view: ViewFormat,
    merge: Literal["tiles", "raster-bands", "picture"] = "tiles",
) -> Tiles:
    """The whole picture squashed to one view, then its tiles row by row, if the plan has any.

    Args:
        image: RGB, of the planned size.
        plan: its grid.
        view: what the encoder wants.
        merge: what the token sampler is given at a time.

    Returns:
        ``pixels_NCHW`` with N = ``plan.views``, thumbnail first; mask and order with
        N = ``plan.groups``.

    Raises:
        ValueError: the picture is not RGB, or not of the size that was planned for.
    """
    if image.size != (plan.width, plan.height) or image.mode != "RGB":
        raise ValueError(
            f"picture is {image.mode} of {image.width} x {image.height} pixels, "
            f"wanted RGB of {plan.width} x {plan.height} as planned"
        )
    squashed = image.resize((view.size, view.size), Image.Resampling.BICUBIC)
    whole_NHWC = np.asarray(squashed)[None]
    mask_NP = np.ones((1, view.patches), dtype=np.bool_)
    order_NP = None
    if plan.cols:
        tiles_NHWC = _cut_canvas(_canvas(image, plan, view), plan)
        whole_NHWC = np.concatenate([whole_NHWC, tiles_NHWC])
        mask_NP = np.concatenate([mask_NP, _mask_tiles(plan, view)])
        # In one column of tiles, bands and tiles are the same.
        if merge == "raster-bands" and plan.cols > 1:
            order_NP = raster_bands(plan.cols, plan.rows, view)
        elif merge == "picture":
            order_NP = np.arange(plan.views * view.patches)[None]
        if order_NP is not None:
            mask_NP = mask_NP.flatten()[order_NP]
    return Tiles(np.ascontiguousarray(whole_NHWC.transpose(0, 3, 1, 2)), mask_NP, order_NP)


def raster_bands(cols: int, rows: int, view: ViewFormat) -> np.ndarray:
    """``patch_order_NP`` of a thumbnail and bands of the canvas of cols x rows tiles.

    A band is P patches in a row of the canvas's own reading order: strips across its whole width,
    which may begin and end within a row. The official xGen-MM code gives these to its sampler,
    and so the released weights expect them.
    """
    patches = np.arange((1 + cols * rows) * view.patches)
    thumbnail, tiles = patches[: view.patches], patches[view.patches :]
    grid = tiles.reshape(rows, cols, view.patch_rows, view.patch_cols)
    bands = grid.swapaxes(1, 2).reshape(rows * cols, view.patches)
    return np.concatenate([thumbnail[None], bands])


def _canvas(image: Image.Image, plan: TilePlan, view: ViewFormat) -> np.ndarray:
    """The picture in the middle of a black canvas of cols x rows tiles."""
    width, height = plan.cols * view.size, plan.rows * view.size
    place = place_pixels(plan.width, plan.height, width, height)
    canvas = Image.new("RGB", (width, height))
    resized = image.resize((place.width, place.height), Image.Resampling.BICUBIC)
    canvas.paste(resized, (place.left, place.top))
    return np.asarray(canvas)


def _mask_tiles(plan: TilePlan, view: ViewFormat) -> np.ndarray:
    """``mask_NP`` of the tiles: the picture's rectangle on all patches of the canvas, cut up."""
    map_cols, map_rows = plan.cols * view.patch_cols, plan.rows * view.patch_rows
    place = place_patches(plan.width, plan.height, map_cols, map_rows)
    shown = np.zeros((map_rows, map_cols), dtype=np.bool_)
    shown[place.top : place.top + place.height, place.left : place.left + place.width] = True
    return _cut_canvas(shown, plan).reshape(plan.cols * plan.rows, view.patches)


def _cut_canvas(canvas: np.ndarray, plan: TilePlan) -> np.ndarray:
    """Cut the two leading axes of a canvas into the plan's grid: tiles row by row, in front."""
    height, width, *rest = canvas.shape
    tile_height, tile_width = height // plan.rows, width // plan.cols
    grid = canvas.reshape(plan.rows, tile_height, plan.cols, tile_width, *rest)
    return grid.swapaxes(1, 2).reshape(plan.rows * plan.cols, tile_height, tile_width, *rest)
