"""Made-up conversations about drawn pictures, or about none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from mmcore.interfaces import SyntheticContent
from mmcore.kit.conversation import TAG
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row
from mmcore.kit.quiz import Asked, questions, text_questions


class Talks:
    """What is asked in one row after another.

    Held-out rows ask a single question, the kinds as even as can be.

    Args:
        content: what is made up.
        pictures: how many a row has.
        turns: most questions of a row.
    """

    def __init__(self, content: SyntheticContent, *, pictures: int, turns: int) -> None:
        self._content, self._pictures, self._turns = content, pictures, turns
        self._asked_so_far: Counter[str] = Counter()

    def next(self, rng: random.Random) -> tuple[list[Picture], list[Asked]]:
        """The pictures of a row and what is asked about them.

        Raises:
            ValueError: a topic is not known.
        """
        drawn, asked = self._draw_until_asked(rng)
        if not self._content.held_out:
            return drawn, asked[: self._turns]
        rarest = min(asked, key=lambda one: self._asked_so_far[one.kind])
        self._asked_so_far[rarest.kind] += 1
        return drawn, [rarest]

    def _draw_until_asked(self, rng: random.Random) -> tuple[list[Picture], list[Asked]]:
        """Pictures about which something can be asked: not all that show the same texts can."""
        if not self._pictures:
            return [], text_questions(rng, held_out=self._content.held_out)
        while True:
            drawn = draw_row(self._content, self._pictures, rng)
            if asked := questions(drawn, rng):
                return drawn, asked


def llava_turns(asked: Sequence[Asked], pictures: int) -> list[dict[str, str]]:
    """Questions and answers in LLaVA's form, a tag for every picture before the first."""
    turns = []
    tags = f"{TAG}\n" * pictures
    for one in asked:
        turns.append({"from": "human", "value": tags + one.question})
        turns.append({"from": "gpt", "value": one.answer})
        tags = ""
    return turns
