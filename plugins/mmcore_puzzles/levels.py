"""The kinds of puzzles, and how hard each of them is: levels, made of the recipe's knobs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import attrs

Kind = Literal["colour", "reading", "place", "count", "compare", "retrieve"]
Vocabulary = Literal["numbers", "words", "long words"]

LETTERS: Final[Mapping[Vocabulary, int]] = MappingProxyType(
    {"numbers": 2, "words": 3, "long words": 6}
)
"""Characters of every text of a vocabulary."""

PLACES: Final = (
    ("top left", "top", "top right"),
    ("left", "middle", "right"),
    ("bottom left", "bottom", "bottom right"),
)
"""The names of the nine parts of a picture."""

SCENE_CELLS: Final = len(PLACES)
"""Shapes stand in a grid of at least so many cells a side."""


@attrs.frozen(kw_only=True)
class Knobs:
    """How puzzles are made; what each knob means stands beside the recipe's keys.

    A knob with several values gives several levels.
    """

    side: int
    vocabulary: Vocabulary
    grid: tuple[int, ...]
    text_px: tuple[int, ...]
    shape_px: tuple[int, ...]
    others: tuple[int, ...]
    most: int
    pictures: tuple[int, ...]
    turns: int


@attrs.frozen
class Level:
    """One difficulty of one kind of puzzle.

    Attributes:
        kind: what is asked.
        label: names the level within its kind by the knobs that vary, such as ``3x3 10px``; empty
            where there is one level.
        px: height of capitals, or side of shapes, in pixels.
        cells: the picture is divided into so many cells a side, with a thing in a cell at most.
        others: things beside the one that is asked for.
        pictures: how many are shown.
    """

    kind: Kind
    label: str
    px: int
    cells: int
    others: int = 0
    pictures: int = 1


def levels(kind: Kind, knobs: Knobs) -> tuple[Level, ...]:
    """All levels of a kind, in the order of the knobs' values."""
    return tuple(_LEVELS[kind](knobs))


def box(text: str, px: int) -> tuple[int, int]:
    """Width and height that a text may take whose capitals are ``px`` high: any text of its
    length, so that where it stands does not depend on what it says."""
    return text_box(len(text), px)


def text_box(letters: int, px: int) -> tuple[int, int]:
    """Width and height that so many characters may take."""
    return math.ceil(1.15 * px * letters), px + math.ceil(px / 20)


def _label(*parts: tuple[str, Sequence[int]]) -> str:
    """The parts whose knob has several values: what does not vary is not said."""
    return " ".join(part for part, values in parts if len(set(values)) > 1)


def _colour(knobs: Knobs) -> Iterator[Level]:
    for px in knobs.shape_px:
        yield Level("colour", _label((f"{px}px", knobs.shape_px)), px, SCENE_CELLS)


def _reading(knobs: Knobs) -> Iterator[Level]:
    for grid in knobs.grid:
        for px in knobs.text_px:
            label = _label((f"{grid}x{grid}", knobs.grid), (f"{px}px", knobs.text_px))
            yield Level("reading", label, px, grid, grid * grid - 1)


def _place(knobs: Knobs) -> Iterator[Level]:
    for others, px, label in _scenes(knobs):
        yield Level("place", label, px, SCENE_CELLS, others)


def _count(knobs: Knobs) -> Iterator[Level]:
    for others, px, label in _scenes(knobs):
        # Where there are others, all pictures of a level have equally many things.
        things = knobs.most + others
        cells = max(SCENE_CELLS, math.isqrt(things - 1) + 1)
        yield Level("count", label, px, cells, others)


def _compare(knobs: Knobs) -> Iterator[Level]:
    for others, px, label in _scenes(knobs):
        yield Level("compare", label, px, SCENE_CELLS, others, pictures=2)


def _scenes(knobs: Knobs) -> Iterator[tuple[int, int, str]]:
    """Others, side of shapes, and label."""
    for others in knobs.others:
        for px in knobs.shape_px:
            yield (
                others,
                px,
                _label((f"{others} others", knobs.others), (f"{px}px", knobs.shape_px)),
            )


def _retrieve(knobs: Knobs) -> Iterator[Level]:
    for pictures in knobs.pictures:
        for px in knobs.shape_px:
            label = _label((f"{pictures} pictures", knobs.pictures), (f"{px}px", knobs.shape_px))
            yield Level("retrieve", label, px, SCENE_CELLS, pictures=pictures)


_LEVELS: Final[Mapping[Kind, Callable[[Knobs], Iterator[Level]]]] = MappingProxyType(
    {
        "colour": _colour,
        "reading": _reading,
        "place": _place,
        "count": _count,
        "compare": _compare,
        "retrieve": _retrieve,
    }
)

KINDS: Final[tuple[Kind, ...]] = tuple(_LEVELS)
