"""What training may show and what is kept for evaluation: texts, coloured shapes, and places.

The division is fixed: it depends on no seed and on no knob. A picture shows things of one pool
only, so nothing that an evaluation shows was ever seen in training, at any pixel where training
puts anything.
"""

from __future__ import annotations

import functools
import random
from typing import Final

import attrs

from mmcore.kit.drawing import INKS
from mmcore.kit.writing import HELD_OUT, TRAINING
from mmcore_puzzles.levels import Vocabulary

SHAPES: Final = ("circle", "square", "triangle", "cross", "ring", "diamond")


@attrs.frozen
class Look:
    """How a shape looks: a colour and a form. Which pairs exist is what the pools divide."""

    ink: str
    shape: str

    def __str__(self) -> str:
        return f"{self.ink} {self.shape}"


@attrs.frozen
class Pool:
    """The contents of one side of the division.

    Attributes:
        held_out: the side that training never shows.
    """

    held_out: bool

    def texts(self, vocabulary: Vocabulary) -> tuple[str, ...]:
        """All texts of a vocabulary.

        A fifth of the numbers and words are held out. A long word is two words, and both are of
        the same side.
        """
        return _texts(vocabulary, self.held_out)

    @property
    def looks(self) -> tuple[Look, ...]:
        """All coloured shapes. Every colour is held out in two shapes and every shape in two
        colours, so that a held-out shape cannot be told by its colour alone, or its form."""
        return _looks(self.held_out)

    def spot(
        self, rng: random.Random, corner: tuple[int, int], room: tuple[int, int]
    ) -> tuple[int, int]:
        """Where a thing's top left pixel comes to lie: up to ``room`` from ``corner``.

        Of the pixels, those of every third diagonal are held out.
        """
        assert max(room) >= 2, f"room is {room}: three neighbours have a pixel of either pool"
        while True:
            x = corner[0] + rng.randint(0, room[0])
            y = corner[1] + rng.randint(0, room[1])
            if holds_out(x, y) is self.held_out:
                return x, y


def holds_out(x: int, y: int) -> bool:
    """Whether a thing whose top left pixel is this one is held out."""
    return (x + y) % 3 == 0


@functools.cache
def _texts(vocabulary: Vocabulary, held_out: bool) -> tuple[str, ...]:
    pool = HELD_OUT if held_out else TRAINING
    if vocabulary == "numbers":
        return pool["number"]
    words = pool["word"]
    if vocabulary == "words":
        return words
    return tuple(first + second for first in words for second in words)


@functools.cache
def _looks(held_out: bool) -> tuple[Look, ...]:
    return tuple(
        Look(ink, shape)
        for i, ink in enumerate(INKS)
        for j, shape in enumerate(SHAPES)
        if ((i + j) % 3 == 0) is held_out
    )
