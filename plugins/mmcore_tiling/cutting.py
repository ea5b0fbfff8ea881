"""Cut a decoded picture into views and mark the patches that show it.

Letters: N views, P patches of a view, C/H/W channels, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from mmcore.interfaces import TilePlan, Tiles, ViewFormat
from mmcore_tiling.grids import Size, place_patches, place_pixels
from mmcore_tiling.resizing import resize_exactly, resize_fast

Resize = Callable[[Image.Image, Sequence[Size]], list[np.ndarray]]


def cut_picture(
    image: Image.Image,
    plan: TilePlan,
    view: ViewFormat,
    merge: Literal["tiles", "raster-bands", "picture"] = "tiles",
    resize: Literal["fast", "exact"] = "exact",
    least_size: Size | None = None,
) -> Tiles:
    """The whole picture squashed to one view, then its tiles row by row, if the plan has any.

    Args:
        image: RGB, of the planned size or, where ``least_size`` allows it, of a part of it.
        plan: its grid.
        view: what the encoder wants.
        merge: what the token sampler is given at a time.
        resize: Pillow's own pixels, or the same within one grey level.
        least_size: the size to which a picture may have been reduced when it was decoded.

    Returns:
        ``pixels_NCHW`` with N = ``plan.views``, thumbnail first; mask and order with
        N = ``plan.groups``.

    Raises:
        ValueError: the picture is not RGB, or not of the size that was planned for.
    """
    if image.size not in plan.decoded_sizes(least_size) or image.mode != "RGB":
        raise ValueError(
            f"picture is {image.mode} of {image.width} x {image.height} pixels, "
            f"wanted RGB of {plan.width} x {plan.height} as planned"
        )
    pixels_NCHW = _views(image, plan, view, resize_fast if resize == "fast" else resize_exactly)
    mask_NP = np.ones((1, view.patches), dtype=np.bool_)
    if not plan.cols:
        return Tiles(pixels_NCHW, mask_NP)
    mask_NP = np.concatenate([mask_NP, _mask_tiles(plan, view)])
    order_NP = None
    # In one column of tiles, bands and tiles are the same.
    if merge == "raster-bands" and plan.cols > 1:
        order_NP = raster_bands(plan.cols, plan.rows, view)
    elif merge == "picture":
        order_NP = np.arange(plan.views * view.patches)[None]
    if order_NP is not None:
        mask_NP = mask_NP.flatten()[order_NP]
    return Tiles(pixels_NCHW, mask_NP, order_NP)


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


def _views(image: Image.Image, plan: TilePlan, view: ViewFormat, resized: Resize) -> np.ndarray:
    """``pixels_NCHW``: the thumbnail, and the tiles of the picture in the middle of black."""
    pixels_NCHW = np.empty((plan.views, 3, view.size, view.size), dtype=np.uint8)
    whole = view.size, view.size
    if not plan.cols:
        (pixels_NCHW[0],) = resized(image, [whole])
        return pixels_NCHW
    pixels_NCHW[1:] = 0
    place = place_pixels(plan.width, plan.height, plan.cols * view.size, plan.rows * view.size)
    pixels_NCHW[0], picture_CHW = resized(image, [whole, (place.width, place.height)])
    for number in range(plan.cols * plan.rows):
        row, col = divmod(number, plan.cols)
        down, top = _shared(view.size, row, place.top, place.height)
        across, left = _shared(view.size, col, place.left, place.width)
        pixels_NCHW[1 + number][:, down, across] = picture_CHW[:, top, left]
    return pixels_NCHW


def _shared(size: int, number: int, before: int, length: int) -> tuple[slice, slice]:
    """Along one side of the canvas: what a tile and the picture share, counted in either.

    Args:
        size: of a tile.
        number: of the tile along this side.
        before: where the picture begins.
        length: of the picture.
    """
    tile = number * size
    begin = max(tile, before)
    end = max(begin, min(tile + size, before + length))
    return slice(begin - tile, end - tile), slice(begin - before, end - before)


def _mask_tiles(plan: TilePlan, view: ViewFormat) -> np.ndarray:
    """``mask_NP`` of the tiles: the picture's rectangle on all patches of the canvas, cut up."""
    map_cols, map_rows = plan.cols * view.patch_cols, plan.rows * view.patch_rows
    place = place_patches(plan.width, plan.height, map_cols, map_rows)
    shown = np.zeros((map_rows, map_cols), dtype=np.bool_)
    shown[place.top : place.top + place.height, place.left : place.left + place.width] = True
    tiles = shown.reshape(plan.rows, view.patch_rows, plan.cols, view.patch_cols).swapaxes(1, 2)
    return tiles.reshape(plan.cols * plan.rows, view.patches)
