"""The task ``exact-answer``: give the last answer of a conversation word for word."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice, zip_longest

from mmcore.interfaces import Question, Sample, Source, TextPart
from mmcore_tasks.whole import whole


class ExactAnswerTask:
    """Asks the last question of conversations, as evenly over their kinds as the data allow.

    Args:
        source: an opened source of conversations; ``Sample.group`` is the kind of question.
        name: label of the source in the questions' keys.
        samples: how many questions are asked; fewer where the source has fewer rows.
    """

    def __init__(self, source: Source, *, name: str, samples: int) -> None:
        self._source = source
        self._name = name
        self._samples = samples
        self._questions: tuple[Question, ...] | None = None

    def questions(self) -> Sequence[Question]:
        """The first rows of every kind in the source's order, kind by kind in turn.

        Raises:
            ValueError: a row cannot be used, for an evaluation set must be whole, or there is
                none; the message names the row's key.
        """
        if self._questions is None:
            by_kind: dict[str, list[Question]] = {}
            for sample in whole(self._source, self._name):
                question = question_of(sample)
                kept = by_kind.setdefault(question.kind, [])
                if len(kept) < self._samples:
                    kept.append(question)
            if not by_kind:
                raise ValueError(f"source {self._name!r} has no rows to ask questions about")
            in_turn = chain.from_iterable(zip_longest(*by_kind.values()))
            self._questions = tuple(islice((one for one in in_turn if one), self._samples))
        return self._questions

    def score(self, question: Question, output: str) -> float:
        """1 where the output is the answer but for case, spaces and a final period, else 0."""
        return float(normalised(output) == normalised(question.answer))


def question_of(sample: Sample) -> Question:
    """The parts before the last assistant's turn as the question, its words as the answer.

    Raises:
        ValueError: the sample does not end with an assistant's turn; names its key.
    """
    first = len(sample.parts)
    while first and sample.parts[first - 1].role == "assistant":
        first -= 1
    spoken = sample.parts[first:]
    words = [part.text for part in spoken if isinstance(part, TextPart)]
    if not words or len(words) < len(spoken):
        raise ValueError(f"{sample.key} does not end with words of the assistant's to compare with")
    return Question(
        key=sample.key, kind=sample.group, parts=sample.parts[:first], answer="".join(words)
    )


def normalised(text: str) -> str:
    """Lower case, single spaces, no period at the end."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()
