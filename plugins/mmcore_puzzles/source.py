"""The source ``puzzles``: rows that are made as they are read, each from its number alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Part,
    Row,
    Sample,
    SampleKey,
    Shard,
    SyntheticContent,
    TextPart,
)
from mmcore.kit.made_up import row_generator
from mmcore.kit.made_up_files import encoded
from mmcore_puzzles.drawing import draw
from mmcore_puzzles.levels import Kind, Knobs, levels
from mmcore_puzzles.pools import Pool
from mmcore_puzzles.puzzles import Puzzle, make

NAME: Final = "puzzles"
NUMBER: Final = "number"

SHARD_ROWS: Final = 4096


class PuzzleSource:
    """An endless sequence of puzzles, cut after ``content.rows``.

    Kinds take turns from row to row, and so do the levels of a kind: any run of rows has them
    evenly. A row does not depend on how many rows there are.

    Args:
        kinds: what is asked.
        knobs: how hard it is.
        content: how many rows, their seed, and which side of the pools they show. Held-out rows
            have one question, others up to ``knobs.turns``.
    """

    def __init__(self, kinds: Sequence[Kind], knobs: Knobs, content: SyntheticContent) -> None:
        self._knobs, self._content = knobs, content
        self._levels = [levels(kind, knobs) for kind in kinds]
        self._pool = Pool(content.held_out)

    def shards(self) -> Sequence[Shard]:
        side = "held-out" if self._content.held_out else "training"
        names = [
            f"{side}-{self._content.seed}-{first // SHARD_ROWS:05}"
            for first in range(0, self._content.rows, SHARD_ROWS)
        ]
        return [Shard(name, name) for name in names]

    def length(self, shard: Shard) -> int:
        return min(SHARD_ROWS, self._content.rows - _first(shard))

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        for number in range(start, stop):
            yield {NUMBER: _first(shard) + number}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        number = row[NUMBER]
        assert isinstance(number, int)
        puzzle = self.puzzle(number)
        turns = 1 if self._content.held_out else self._knobs.turns
        return Sample(key=key, parts=conversation(puzzle, turns), group=puzzle.level.kind)

    def puzzle(self, number: int) -> Puzzle:
        """The puzzle of a row, counted through all shards."""
        of_kind, kind = divmod(number, len(self._levels))
        levels_of_kind = self._levels[kind]
        level = levels_of_kind[of_kind % len(levels_of_kind)]
        rng = row_generator(f"{NAME}/{level.kind}", self._content, number)
        return make(level, self._knobs, self._pool, rng)


def shown(puzzle: Puzzle) -> tuple[Part, ...]:
    """What the user shows and asks first; several pictures stand between words that number them."""
    images = [ImagePart(ImageRef(data=encoded(draw(one), "png")), "user") for one in puzzle.scenes]
    parts: list[Part] = []
    for number, image in enumerate(images, start=1):
        if len(images) > 1:
            line = "\n" if parts else ""
            parts.append(TextPart(f"{line}Picture {number}: ", "user", loss=False))
        parts.append(image)
    line = "\n" if len(images) > 1 else ""
    parts.append(TextPart(f"{line}{puzzle.asked[0].question}", "user", loss=False))
    return tuple(parts)


def conversation(puzzle: Puzzle, turns: int) -> tuple[Part, ...]:
    """Questions and answers; only the answers are learned."""
    first, *more = puzzle.asked[:turns]
    parts = [*shown(puzzle), TextPart(first.answer, "assistant")]
    for asked in more:
        parts.append(TextPart(asked.question, "user", loss=False))
        parts.append(TextPart(asked.answer, "assistant"))
    return tuple(parts)


def _first(shard: Shard) -> int:
    """Number of the first row of a shard, counted through all shards."""
    return int(shard.name.rpartition("-")[2]) * SHARD_ROWS
