"""A scene: what is to be seen on a picture and where, before anything is drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from mmcore_puzzles.levels import box
from mmcore_puzzles.pools import Look, Pool


@attrs.frozen
class Thing:
    """A text or a shape at its place.

    Attributes:
        name: the text, or the name of the shape.
        ink: name of its colour.
        px: height of capitals, or side of the shape.
        x, y: its top left pixel.
        is_text: which of the two it is.
    """

    name: str
    ink: str
    px: int
    x: int
    y: int
    is_text: bool = False


@attrs.frozen
class Scene:
    """A square picture.

    Attributes:
        side: of the picture, in pixels.
        paper: name of its background colour.
        things: all that is on it; they do not overlap.
    """

    side: int
    paper: str
    things: tuple[Thing, ...]


@attrs.frozen
class Grid:
    """A square picture's cells, in which things are put.

    Attributes:
        side: of the picture, in pixels.
        cells: how many a side.
        px: height of capitals, or side of shapes.
        pool: where in a cell a thing may stand.
    """

    side: int
    cells: int
    px: int
    pool: Pool

    def text(self, text: str, ink: str, cell: int, rng: random.Random) -> Thing:
        """A text somewhere in a cell; cells are counted in reading order from 0."""
        x, y = self._spot(cell, box(text, self.px), rng)
        return Thing(text, ink, self.px, x, y, is_text=True)

    def shape(self, look: Look, cell: int, rng: random.Random) -> Thing:
        """A shape somewhere in a cell."""
        x, y = self._spot(cell, (self.px, self.px), rng)
        return Thing(look.shape, look.ink, self.px, x, y)

    def _spot(self, cell: int, size: tuple[int, int], rng: random.Random) -> tuple[int, int]:
        pitch = self.side // self.cells
        row, column = divmod(cell, self.cells)
        x, width = _middle(column * pitch, pitch - size[0])
        y, height = _middle(row * pitch, pitch - size[1])
        return self.pool.spot(rng, (x, y), (width, height))


def _middle(start: int, room: int) -> tuple[int, int]:
    """The middle half of so much room: what stands there is clearly in its own row or column."""
    margin = room // 4
    return start + margin, room - 2 * margin


def confusable(pool: Pool, count: int, rng: random.Random) -> list[Look]:
    """Different looks. The second has the colour of the first, and the third its shape, so that
    neither alone tells the first from the others.

    Args:
        pool: where they come from.
        count: how many, at least 1 and at most as many as the pool has.
        rng: makes all choices.
    """
    looks: Sequence[Look] = rng.sample(pool.looks, len(pool.looks))
    target = looks[0]
    same_ink = next(one for one in looks[1:] if one.ink == target.ink)
    same_shape = next(one for one in looks[1:] if one.shape == target.shape)
    close = [same_ink, same_shape]
    rng.shuffle(close)
    rest = [one for one in looks[1:] if one not in close]
    return [target, *close, *rest][:count]
