"""Made-up rows in the form that a recipe's keys ask for, before they have a format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from mmcore.interfaces import SyntheticContent
from mmcore.kit.drawing import Picture, describe
from mmcore.kit.made_up import draw_row, row_generator
from mmcore.kit.made_up_files import encoded
from mmcore.kit.made_up_talk import Talks, llava_turns
from mmcore.kit.quiz import ORDINALS
from mmcore_sources.names import Names
from mmcore_sources.samples import ANSWER, CONVERSATIONS, GROUP, QUESTION, TEXT

MOST_PICTURES: Final = len(ORDINALS)
"""More than these cannot be asked about by their ordinals."""


@attrs.frozen(eq=False)
class MadeUpRow:
    """One row.

    Attributes:
        pictures: encoded as PNG.
        values: what there is beside them, by what it becomes.
    """

    pictures: tuple[bytes, ...]
    values: dict[str, object]


def row_maker(
    content: SyntheticContent, source: str, names: Names, *, pictures: int, turns: int
) -> Callable[[int], MadeUpRow]:
    """A function from the number of a row to that row; to be called for all rows in order.

    Args:
        content: what is made up.
        source: name of the source; every source draws rows of its own.
        names: says which form the rows have, and whether they have a group.
        pictures: of a row.
        turns: most questions of a conversation.

    Raises:
        ValueError: more pictures are wanted than can be asked about.
    """
    if pictures > MOST_PICTURES:
        raise ValueError(f"{pictures} pictures a row are wanted; at most {MOST_PICTURES} made up")
    talks = Talks(content, pictures=pictures, turns=1 if names.form == QUESTION else turns)

    def captioned(number: int) -> tuple[list[Picture], dict[str, object]]:
        drawn = draw_row(content, max(pictures, 1), row_generator(source, content, number))
        text = " ".join(describe(picture) for picture in drawn)
        return drawn[:pictures], {TEXT: text, GROUP: "caption"}

    def asked(number: int) -> tuple[list[Picture], dict[str, object]]:
        drawn, questions = talks.next(row_generator(source, content, number))
        group = questions[0].kind
        if names.form == CONVERSATIONS:
            return drawn, {CONVERSATIONS: llava_turns(questions, len(drawn)), GROUP: group}
        (one,) = questions
        return drawn, {QUESTION: one.question, ANSWER: one.answer, GROUP: group}

    def make(number: int) -> MadeUpRow:
        drawn, values = captioned(number) if names.form in ("", TEXT) else asked(number)
        shown = tuple(encoded(picture.image, "png") for picture in drawn)
        return MadeUpRow(shown, {k: v for k, v in values.items() if k != GROUP or names.group})

    return make
