"""What a picture is looked at for: the user's own words in the turn that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from mmcore.interfaces import ImagePart, Part, TextFormat, TextPart, TextRun


def own_words(parts: Sequence[Part]) -> list[str]:
    """For every picture, in order, the words of the user's turn that it is part of.

    No other turn's, so never an answer, learned or not; and nothing for a picture of a document,
    whose text is there to be learned.
    """
    words: list[str] = []
    for role, turn in groupby(parts, lambda part: part.role):
        pieces = list(turn)
        said = "".join(piece.text for piece in pieces if isinstance(piece, TextPart)).strip()
        pictures = sum(isinstance(piece, ImagePart) for piece in pieces)
        words += [said if role == "user" else ""] * pictures
    return words


def instructions(text: TextFormat, parts: Sequence[Part], most: int) -> list[tuple[int, ...]]:
    """For every picture, in order, the ids of its own words, the first ``most`` of them.

    They are tokenised by themselves, without the tags of the chat format.
    """
    return [_ids(text, words, most) for words in own_words(parts)]


def _ids(text: TextFormat, words: str, most: int) -> tuple[int, ...]:
    if not words or not most:
        return ()
    runs = text.prompt([TextPart(words, "document")])
    ids = [one for run in runs if isinstance(run, TextRun) for one in run.ids]
    return tuple(one for one in ids if not text.special(one))[:most]
