"""What the columns of a table, or the fields of a JSON member, are called, by what they become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from mmcore_registry import Problem

FORMS: Final = ("text", "conversations", "question")


@attrs.frozen(kw_only=True)
class Names:
    """Names of columns or fields; empty where there is none.

    Attributes:
        text: caption, or a text without pictures.
        conversations: turns in LLaVA's form or as chat messages.
        question: a question about the pictures.
        answer: its answer, or several of them.
        group: what kind of row it is.
    """

    text: str = ""
    conversations: str = ""
    question: str = ""
    answer: str = ""
    group: str = ""

    @property
    def form(self) -> str:
        """The one of ``FORMS`` that a row has, else empty."""
        return next((form for form in FORMS if getattr(self, form)), "")

    @property
    def given(self) -> dict[str, str]:
        """What is named, by what it becomes."""
        return {what: name for what, name in attrs.asdict(self).items() if name}

    def problems(self, noun: str) -> Iterator[Problem]:
        """What contradicts itself in a table whose keys end with ``_<noun>``."""
        keys = [f"{form}_{noun}" for form in FORMS if getattr(self, form)]
        if len(keys) > 1:
            forms = "a text, a conversation, or a question and its answer"
            yield Problem("", f"{' and '.join(keys)} are given; a row is one of: {forms}")
        if self.question and not self.answer:
            yield Problem(f"question_{noun}", f"is given without answer_{noun}")
        if self.answer and not self.question:
            yield Problem(f"answer_{noun}", f"is given without question_{noun}")
