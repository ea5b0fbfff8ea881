"""The recipe table of the puzzles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import SourceSpec, SyntheticContent
from mmcore_puzzles.levels import (
    KINDS,
    LETTERS,
    PLACES,
    Kind,
    Knobs,
    Level,
    Vocabulary,
    levels,
    text_box,
)
from mmcore_registry import Problem, doc, one_of

if TYPE_CHECKING:
    from mmcore_puzzles.source import PuzzleSource

SPARE = 2
"""Pixels of a cell that a thing leaves free at least, so that it can stand at several places."""

MOST_PICTURES = 9
"""As many have a number of one digit."""

ge, le = attrs.validators.ge, attrs.validators.le
_each = attrs.validators.deep_iterable


@attrs.frozen(kw_only=True)
class PuzzlesSpec(SourceSpec):
    """Made-up puzzles that separate designs: reading, places, counts, comparing, retrieving.

    Rows are made as they are read: nothing is written, and any key may change between two runs.
    Which rows there are, `synthetic` says; held-out rows show texts, coloured shapes and places
    that no training row shows, whatever the other keys. A key with several values gives several
    levels of difficulty, all equally frequent.
    """

    name: ClassVar[str] = "puzzles"

    path: str = attrs.field(default="", metadata=doc("stays empty: puzzles have no files"))
    synthetic: SyntheticContent = attrs.field(
        metadata=doc("how many rows, their seed, and whether they are the held-out ones")
    )
    kinds: tuple[Kind, ...] = attrs.field(
        default=KINDS,
        validator=[attrs.validators.min_len(1), _each(one_of(KINDS))],
        metadata=doc(
            "what is asked: the colour of the paper, a text that is read, the place of a shape, a "
            "count of shapes, what changed between two pictures, which of several pictures shows a "
            "shape; the kinds take turns, and one that is named twice has two"
        ),
    )
    side: int = attrs.field(
        default=384, validator=ge(16), metadata=doc("width and height of a picture", unit="pixels")
    )
    vocabulary: Vocabulary = attrs.field(
        default="words",
        validator=one_of(LETTERS),
        metadata=doc(
            "what is read: numbers of two digits, made-up words of three letters, or of six"
        ),
    )
    grid: tuple[int, ...] = attrs.field(
        default=(2, 4),
        validator=[attrs.validators.min_len(1), _each(ge(1))],
        metadata=doc("reading: texts in a row and in a column of the page; a page is full"),
    )
    text_px: tuple[int, ...] = attrs.field(
        default=(12, 20),
        validator=[attrs.validators.min_len(1), _each(ge(5))],
        metadata=doc("reading: height of a capital letter", unit="pixels"),
    )
    shape_px: tuple[int, ...] = attrs.field(
        default=(32,),
        validator=[attrs.validators.min_len(1), _each(ge(5))],
        metadata=doc("all other kinds: side of a shape", unit="pixels"),
    )
    others: tuple[int, ...] = attrs.field(
        default=(0, 4),
        validator=[attrs.validators.min_len(1), _each(ge(0))],
        metadata=doc(
            "place, count, compare: shapes beside the one that is asked for; the first two have "
            "its colour and its form"
        ),
    )
    most: int = attrs.field(
        default=5, validator=[ge(2), le(9)], metadata=doc("count: the largest answer")
    )
    pictures: tuple[int, ...] = attrs.field(
        default=(2, 4),
        validator=[
            attrs.validators.min_len(1),
            _each(attrs.validators.and_(ge(2), le(MOST_PICTURES))),
        ],
        metadata=doc("retrieve: how many pictures are shown"),
    )
    turns: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most questions about the pictures of a training row; held-out rows have one"),
    )

    @property
    def knobs(self) -> Knobs:
        """How hard the puzzles are."""
        return Knobs(
            side=self.side,
            vocabulary=self.vocabulary,
            grid=self.grid,
            text_px=self.text_px,
            shape_px=self.shape_px,
            others=self.others,
            most=self.most,
            pictures=self.pictures,
            turns=self.turns,
        )

    def problems(self) -> Iterator[Problem]:
        if self.path:
            yield Problem("path", f"is {self.path!r}, and puzzles have no files; leave it out")
        if topics := list(self.synthetic.topics):
            message = f"is {topics}, and puzzles are chosen by `kinds`; leave it out"
            yield Problem("synthetic.topics", message)
        all_levels = [one for kind in dict.fromkeys(self.kinds) for one in levels(kind, self.knobs)]
        found = [fault for one in all_levels for fault in self._unfit(one)]
        # Levels that differ in what does not matter have the same fault.
        yield from dict.fromkeys(found)

    def _unfit(self, level: Level) -> Iterator[Problem]:
        yield from self._too_many(level)
        yield from self._too_large(level)

    def _too_many(self, level: Level) -> Iterator[Problem]:
        """Shapes that do not all have a cell of their own."""
        cells = len(PLACES) ** 2
        # What changes its place needs a free one.
        room = {"place": cells - 1, "compare": cells - 2}.get(level.kind)
        if room is not None and level.others > room:
            yield Problem(
                "others", f"is {level.others} for {level.kind!r}, which has room for {room}"
            )

    def _too_large(self, level: Level) -> Iterator[Problem]:
        pitch = self.side // level.cells
        if level.kind == "reading":
            letters = LETTERS[self.vocabulary]
            key, size = "text_px", max(text_box(letters, level.px))
        else:
            key, size = "shape_px", level.px
        if size + SPARE > pitch:
            yield Problem(
                key,
                f"is {level.px} for {level.kind!r}: that takes up to {size} pixels and {SPARE} to "
                f"spare, and a cell of {level.cells}x{level.cells} on a picture of {self.side} has "
                f"{pitch}",
            )

    def open(self) -> PuzzleSource:
        from mmcore_puzzles.source import PuzzleSource

        return PuzzleSource(self.kinds, self.knobs, self.synthetic)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        """Writes nothing: rows are made as they are read."""

    def relocated(self, folder: Path) -> Self:
        return self

    @property
    def folder(self) -> Path:
        return Path()
