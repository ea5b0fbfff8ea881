"""Questions whose answers are known: about drawn pictures, or about nothing but words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

import attrs

from mmcore.kit.drawing import Picture, Written
from mmcore.kit.writing import HELD_OUT, TRAINING

ORDINALS: Final = ("first", "second", "third", "fourth")
"""How pictures are named when several are shown."""


@attrs.frozen
class Asked:
    """A question whose answer is known.

    Attributes:
        kind: "number" and "reading" (a number or a word is read), "colour", "background",
            "place" and "which picture" (a text is searched for); without pictures "larger",
            "smaller", "first letter" and "last letter".
        question: in plain words.
        answer: the right answer, without a period.
    """

    kind: str
    question: str
    answer: str


def questions(pictures: Sequence[Picture], rng: random.Random) -> list[Asked]:
    """All questions that make sense about one picture or several, in random order.

    A question is left out where it would have more than one right answer.

    Raises:
        ValueError: there are no pictures, or more than have a name.
    """
    if not 1 <= len(pictures) <= len(ORDINALS):
        raise ValueError(f"got {len(pictures)} pictures, wanted 1 to {len(ORDINALS)}")
    asked = _about_one(pictures[0]) if len(pictures) == 1 else _about_several(pictures)
    rng.shuffle(asked)
    return asked


def text_questions(rng: random.Random, *, held_out: bool) -> list[Asked]:
    """Questions that need no picture, in random order.

    Args:
        rng: makes all choices.
        held_out: ask about the numbers and words that are kept for evaluation.
    """
    pool = HELD_OUT if held_out else TRAINING
    one, other = rng.sample(pool["number"], 2)
    word = rng.choice(pool["word"])
    asked = [
        Asked("larger", f"Which is larger, {one} or {other}?", max(one, other, key=int)),
        Asked("smaller", f"Which is smaller, {one} or {other}?", min(one, other, key=int)),
        Asked("first letter", f"What is the first letter of {word}?", word[0]),
        Asked("last letter", f"What is the last letter of {word}?", word[-1]),
    ]
    rng.shuffle(asked)
    return asked


def _about_one(picture: Picture) -> list[Asked]:
    asked = [Asked("background", "What colour is the background?", picture.background)]
    for item in picture.written:
        noun = "number" if item.text.isdigit() else "word"
        if item.place:
            where = f"{'on' if item.place in ('left', 'right') else 'at'} the {item.place}"
            asked += [
                Asked(_reading(item), f"What is written {where}?", item.text),
                Asked("colour", f"What colour is the {noun} {where}?", item.colour),
                Asked("place", f"Where is {item.text}?", item.place),
            ]
        else:
            asked += [
                Asked(_reading(item), "What does it say?", item.text),
                Asked("colour", f"What colour is the {noun}?", item.colour),
            ]
    return asked


def _about_several(pictures: Sequence[Picture]) -> list[Asked]:
    asked = []
    texts = [item.text for picture in pictures for item in picture.written]
    for ordinal, picture in zip(ORDINALS, pictures, strict=False):
        asked += [
            Asked("which picture", f"Which picture says {item.text}?", ordinal)
            for item in picture.written
            if texts.count(item.text) == 1
        ]
        if len(picture.written) == 1:
            (item,) = picture.written
            of_it = f"the text of the {ordinal} picture"
            asked += [
                Asked(_reading(item), f"What does the {ordinal} picture say?", item.text),
                Asked("colour", f"What colour is {of_it}?", item.colour),
            ]
    return asked


def _reading(item: Written) -> str:
    return "number" if item.text.isdigit() else "reading"
