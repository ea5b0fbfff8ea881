"""Token ids as a person reads them: each with its text, special ones by name, pictures as one.

Letters: T tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import attrs
import numpy as np
from numpy.typing import NDArray

from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import TextFormat

BROKEN = "\ufffd"
"""What a tokenizer says for bytes that are no whole character yet."""

LONGEST_CHARACTER = 4
"""Bytes of a character, and so the most tokens that can spell one."""


@attrs.frozen
class Word:
    """One token, or the few that spell one character together.

    Attributes:
        text: what it adds to the text; of a special token, its name.
        ids: its ids.
        special: whether it is a special token.
    """

    text: str
    ids: tuple[int, ...]
    special: bool = False


@attrs.frozen
class Run:
    """Words in a row that are all learned, or all not."""

    words: tuple[Word, ...]
    learned: bool


@attrs.frozen
class PicturePlace:
    """Where a picture's tokens stand.

    Attributes:
        number: of the picture in its sample, from 0.
        groups: how many times ``tokens`` it takes.
        tokens: of a view, or of another group of patches.
    """

    number: int
    groups: int
    tokens: int


def prompt(
    text: TextFormat,
    input_ids_T: NDArray[np.int64],
    learned_T: NDArray[np.bool_],
    pictures: Sequence[PlannedPicture],
    tokens_per_view: int,
) -> list[Run | PicturePlace]:
    """A whole sequence in order.

    Args:
        text: whose ids they are.
        input_ids_T, learned_T, pictures: of a ``TokenizedSample``.
        tokens_per_view: positions of a view, or of another group of patches.
    """
    items: list[Run | PicturePlace] = []
    before = 0
    for number, picture in enumerate(pictures):
        items += _runs(text, input_ids_T[before : picture.start], learned_T[before : picture.start])
        items.append(PicturePlace(number, picture.plan.groups, tokens_per_view))
        before = picture.start + picture.plan.groups * tokens_per_view
    return [*items, *_runs(text, input_ids_T[before:], learned_T[before:])]


def _runs(
    text: TextFormat, ids_T: NDArray[np.int64], learned_T: NDArray[np.bool_]
) -> Iterator[Run]:
    """Cut where learning begins or ends, and nowhere else."""
    words = spell(text, ids_T.tolist(), learned_T.tolist())
    for learned, run in groupby(words, key=itemgetter(1)):
        yield Run(tuple(word for word, _ in run), learned)


def spell(
    text: TextFormat, ids: Sequence[int], learned: Sequence[bool]
) -> Iterator[tuple[Word, bool]]:
    """Token by token, what each adds to the text, and whether it is learned.

    A token is decoded behind the one before it: alone, some would lose the space they begin with.
    """
    before = read = 0
    for stop in range(1, len(ids) + 1):
        last = ids[stop - 1]
        if name := text.special(last):
            yield Word(name, (last,), special=True), learned[stop - 1]
            before = read = stop
            continue
        known, now = text.decode(ids[before:read]), text.decode(ids[before:stop])
        goes_on = (
            now.endswith(BROKEN)
            and stop - read < LONGEST_CHARACTER
            and stop < len(ids)
            and not text.special(ids[stop])
            and learned[stop] == learned[stop - 1]
        )
        if not goes_on:
            yield Word(now[len(known) :], tuple(ids[read:stop])), learned[stop - 1]
            before, read = read, stop
