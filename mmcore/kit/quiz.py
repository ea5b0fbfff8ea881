"""Questions about drawn pictures whose answers are known."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import attrs

from mmcore.kit.drawing import Picture

ORDINALS: Final = ("first", "second", "third", "fourth")
"""How pictures are named when several are shown."""


@attrs.frozen
class Asked:
    """A question, its right answer, and what kind of question it is."""

    kind: str
    question: str
    answer: str


def questions(pictures: Sequence[Picture], rng: random.Random) -> list[Asked]:
    """All questions that make sense about these pictures, in random order.

    Raises:
        ValueError: no pictures, or more than have a name.
    """
    if not 1 <= len(pictures) <= len(ORDINALS):
        raise ValueError(f"got {len(pictures)} pictures, wanted 1 to {len(ORDINALS)}")
    if len(pictures) == 1:
        asked = _about_one(pictures[0])
    else:
        asked = _about_several(pictures)
    rng.shuffle(asked)
    return asked


def _about_one(picture: Picture) -> list[Asked]:
    asked = [Asked("background", "What colour is the background?", picture.background)]
    for item in picture.written:
        noun = "number" if item.text.isdigit() else "word"
        reading = "number" if item.text.isdigit() else "reading"
        if not item.place:
            asked.append(Asked(reading, "What does it say?", item.text))
            asked.append(Asked("colour", f"What colour is the {noun}?", item.colour))
            continue
        where = f"at the {item.place}" if item.place in _VERTICAL else f"on the {item.place}"
        asked.append(Asked(reading, f"What is written {where}?", item.text))
        asked.append(Asked("colour", f"What colour is the {noun} {where}?", item.colour))
        asked.append(Asked("place", f"Where is {item.text}?", item.place))
    return asked


_VERTICAL: Final = frozenset(
    {"top", "bottom", "top left", "top right", "bottom left", "bottom right"}
)


def _about_several(pictures: Sequence[Picture]) -> list[Asked]:
    asked = []
    texts = [item.text for picture in pictures for item in picture.written]
    for ordinal, picture in zip(ORDINALS, pictures, strict=False):
        for item in picture.written:
            if texts.count(item.text) == 1:
                asked.append(Asked("which picture", f"Which picture says {item.text}?", ordinal))
        if len(picture.written) == 1:
            (item,) = picture.written
            reading = "number" if item.text.isdigit() else "reading"
            asked.append(Asked(reading, f"What does the {ordinal} picture say?", item.text))
            asked.append(
                Asked("colour", f"What colour is the text of the {ordinal} picture?", item.colour)
            )
    return asked
