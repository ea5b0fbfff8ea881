"""Arithmetic of any-res tiling: which grid of tiles fits a picture, and where the picture lies.

A grid is (cols, rows). All of it follows LLaVA-NeXT as BLIP-3 uses it (arXiv 2408.08872, section
3.1), down to where a quotient is rounded: scales are floats and lengths are cut, or, for the
pixels, raised to whole numbers, so the mask may differ from the pixels by one row of patches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs

Grid = tuple[int, int]
Size = tuple[int, int]

BLIP3_GRIDS: Final[tuple[Grid, ...]] = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
"""The grids of BLIP-3's training code, in its order, which decides ties."""


@attrs.frozen
class Rectangle:
    """Where the picture lies on its canvas; ``left`` and ``top`` included."""

    left: int
    top: int
    width: int
    height: int


def grids_up_to(max_tiles: int, max_side: int) -> tuple[Grid, ...]:
    """All grids of 2 to ``max_tiles`` tiles with at most ``max_side`` columns and rows.

    Small grids first and, among equals, the taller first, as in ``BLIP3_GRIDS``. One tile alone
    is left out: the thumbnail shows the same.
    """
    sides = range(1, max_side + 1)
    found = [(cols, rows) for cols in sides for rows in sides if 2 <= cols * rows <= max_tiles]
    return tuple(sorted(found, key=lambda grid: (grid[0] * grid[1], grid[0])))


def choose_grid(width: int, height: int, size: int, grids: Sequence[Grid]) -> Grid:
    """The grid that keeps most of the picture's pixels; then the one that wastes the least area.

    Args:
        width, height: of the picture, in pixels.
        size: side of a tile, in pixels.
        grids: candidates, at least one; a full tie goes to the earlier.
    """

    def merit(grid: Grid) -> tuple[int, int]:
        canvas_width, canvas_height = grid[0] * size, grid[1] * size
        scale = min(canvas_width / width, canvas_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - canvas_width * canvas_height

    return max(grids, key=merit)


def place_pixels(width: int, height: int, canvas_width: int, canvas_height: int) -> Rectangle:
    """Where the picture is pasted on the canvas after it was resized to fit, in pixels."""
    scale_x, scale_y = canvas_width / width, canvas_height / height
    if scale_x < scale_y:
        new_width, new_height = canvas_width, min(math.ceil(height * scale_x), canvas_height)
    else:
        new_width, new_height = min(math.ceil(width * scale_y), canvas_width), canvas_height
    return Rectangle(
        left=(canvas_width - new_width) // 2,
        top=(canvas_height - new_height) // 2,
        width=new_width,
        height=new_height,
    )


def place_patches(width: int, height: int, map_cols: int, map_rows: int) -> Rectangle:
    """Which patches of the canvas show the picture; nothing, where it is too thin for one.

    The border is equally wide on both sides, so an odd remainder shows one row more than fits.
    """
    if width / height > map_cols / map_rows:
        border = (map_rows - int(height * (map_cols / width))) // 2
        return Rectangle(left=0, top=border, width=map_cols, height=map_rows - 2 * border)
    border = (map_cols - int(width * (map_rows / height))) // 2
    return Rectangle(left=border, top=0, width=map_cols - 2 * border, height=map_rows)
