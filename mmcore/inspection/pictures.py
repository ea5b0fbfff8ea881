"""A picture as the encoder gets it, for a page: its views as data URIs, and what the mask hides.

Letters: N views, P patches of a view, C/H/W channels, height, width.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import Tiles, ViewFormat

LONGEST_SIDE = 224
"""Pixels of a view on the page; larger ones are reduced."""

LOSSLESS_SIDE = 64
"""Views up to this many pixels are kept as they are."""

QUALITY = 80


@attrs.frozen
class Patches:
    """A rectangle of patches, counted from the view's upper left."""

    left: int
    top: int
    width: int
    height: int


@attrs.frozen
class ShownView:
    """One view.

    Attributes:
        uri: the picture itself.
        hidden: patches that the mask hides, as rectangles that do not overlap.
        hidden_share: of all its patches, 0 to 1.
        patch_rows, patch_cols: how many patches it has.
    """

    uri: str
    hidden: tuple[Patches, ...]
    hidden_share: float
    patch_rows: int
    patch_cols: int


@attrs.frozen
class ShownPicture:
    """One picture.

    Attributes:
        path: as the dataset writes it; empty where the row carries the bytes.
        width, height: in pixels, as it was decoded.
        cols, rows: of the grid; 0 where it is one view.
        wholes: views beside the grid: the thumbnail.
        tiles: those of the grid, row by row.
        groups, tokens: how many times a view's tokens it takes, and how many those are in all.
    """

    path: str
    width: int
    height: int
    cols: int
    rows: int
    wholes: tuple[ShownView, ...]
    tiles: tuple[ShownView, ...]
    groups: int
    tokens: int


def show(
    picture: PlannedPicture, tiles: Tiles, view: ViewFormat, tokens_per_view: int
) -> ShownPicture:
    """The views of a picture, as it was cut."""
    plan = picture.plan
    shown_NP = shown_patches(tiles, view)
    views = [
        _view(pixels_CHW, shown_P.reshape(view.patch_rows, view.patch_cols))
        for pixels_CHW, shown_P in zip(tiles.pixels_NCHW, shown_NP, strict=True)
    ]
    beside = plan.views - plan.cols * plan.rows
    return ShownPicture(
        path=picture.ref.path,
        width=plan.width,
        height=plan.height,
        cols=plan.cols,
        rows=plan.rows,
        wholes=tuple(views[:beside]),
        tiles=tuple(views[beside:]),
        groups=plan.groups,
        tokens=plan.groups * tokens_per_view,
    )


def shown_patches(tiles: Tiles, view: ViewFormat) -> NDArray[np.bool_]:
    """The mask view by view, whatever groups the tiler made of the patches.

    Returns:
        bool, N x P; True where a patch shows the picture. A patch in no group is False.
    """
    views = len(tiles.pixels_NCHW)
    if tiles.patch_order_NP is None:
        return tiles.patch_mask_NP.reshape(views, view.patches)
    shown = np.zeros(views * view.patches, dtype=np.bool_)
    shown[tiles.patch_order_NP[tiles.patch_mask_NP]] = True
    return shown.reshape(views, view.patches)


def _view(pixels_CHW: NDArray[np.uint8], shown: NDArray[np.bool_]) -> ShownView:
    hidden = tuple(hidden_patches(shown))
    return ShownView(data_uri(pixels_CHW), hidden, 1 - float(shown.mean()), *shown.shape)


def data_uri(pixels_CHW: NDArray[np.uint8]) -> str:
    """The picture inside a page: small ones exactly, larger ones reduced."""
    image = Image.fromarray(np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0)))
    buffer, kind = io.BytesIO(), "png"
    if max(image.size) <= LOSSLESS_SIDE:
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def hidden_patches(shown: NDArray[np.bool_]) -> Iterator[Patches]:
    """What a mask (rows x columns, True where shown) hides, in as few rectangles as runs allow:
    rows that hide the same are joined."""
    rows, top = len(shown), 0
    while top < rows:
        bottom = top + 1
        while bottom < rows and np.array_equal(shown[bottom], shown[top]):
            bottom += 1
        edges = np.flatnonzero(np.diff(np.concatenate([[True], shown[top], [True]])))
        for left, right in edges.reshape(-1, 2).tolist():
            yield Patches(left, top, right - left, bottom - top)
        top = bottom
