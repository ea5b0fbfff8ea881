"""The task ``caption-match``: say in a caption what the true caption says, fact by fact."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mmcore.interfaces import Question, Sample, Source, TextPart
from mmcore_tasks.whole import whole


class CaptionMatchTask:
    """Shows the pictures before a document's first words, and compares how the model goes on.

    Args:
        source: an opened source of documents.
        name: label of the source in the questions' keys.
        samples: how many questions are asked; fewer where the source has fewer rows.
        patterns: kind of fact to the regular expression that finds it in a caption. A document
            is asked about once for every kind that its own caption has.
    """

    def __init__(
        self, source: Source, *, name: str, samples: int, patterns: Mapping[str, str]
    ) -> None:
        self._source = source
        self._name = name
        self._samples = samples
        self._patterns = {kind: re.compile(pattern) for kind, pattern in patterns.items()}
        self._questions: tuple[Question, ...] | None = None

    def questions(self) -> Sequence[Question]:
        """The first rows of the source, each with its kinds in the order of the patterns.

        Raises:
            ValueError: a row cannot be used, or no caption has any of the facts.
        """
        if self._questions is None:
            found: list[Question] = []
            for sample in whole(self._source, self._name):
                found += self._about(sample)
                if len(found) >= self._samples:
                    break
            if not found:
                raise ValueError(f"no caption of source {self._name!r} matches any pattern")
            self._questions = tuple(found[: self._samples])
        return self._questions

    def score(self, question: Question, output: str) -> float:
        """1 where all facts of the kind are the same, in the same order, else 0."""
        pattern = self._patterns[question.kind]
        return float(pattern.findall(output) == pattern.findall(question.answer))

    def _about(self, sample: Sample) -> list[Question]:
        first = next(
            (i for i, part in enumerate(sample.parts) if isinstance(part, TextPart)),
            len(sample.parts),
        )
        caption = "".join(part.text for part in sample.parts[first:] if isinstance(part, TextPart))
        return [
            Question(key=sample.key, kind=kind, parts=sample.parts[:first], answer=caption)
            for kind, pattern in self._patterns.items()
            if pattern.search(caption)
        ]
