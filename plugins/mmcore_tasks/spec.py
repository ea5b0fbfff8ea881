"""The recipe tables of the tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

import attrs

from mmcore.interfaces import SourceSpec, Task, TaskSpec
from mmcore_registry import Problem, doc


@attrs.frozen(kw_only=True)
class ExactAnswerSpec(TaskSpec):
    """Questions with short answers that must be given word for word, from any source."""

    name: ClassVar[str] = "exact-answer"

    data: SourceSpec = attrs.field(
        validator=attrs.validators.instance_of(SourceSpec),  # type: ignore[type-abstract]  # never made
        metadata=doc("source of conversations; the last answer of a row is what is asked for"),
    )

    def build(self) -> Task:
        from mmcore_tasks.exact_answer import ExactAnswerTask

        return ExactAnswerTask(self.data.open(), name=self.data.name, samples=self.samples)


@attrs.frozen(kw_only=True)
class CaptionMatchSpec(TaskSpec):
    """Captions whose facts, found by regular expressions, must be those of the true caption."""

    name: ClassVar[str] = "caption-match"

    data: SourceSpec = attrs.field(
        validator=attrs.validators.instance_of(SourceSpec),  # type: ignore[type-abstract]  # never made
        metadata=doc("source of documents; what stands before the first words is shown"),
    )
    patterns: Mapping[str, str] = attrs.field(
        validator=attrs.validators.min_len(1),
        metadata=doc("kind of fact to the regular expression that finds it in a caption"),
    )

    def problems(self) -> Iterator[Problem]:
        for kind, pattern in self.patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                yield Problem(f"patterns.{kind}", f"is {pattern!r}, no regular expression: {error}")

    def build(self) -> Task:
        from mmcore_tasks.caption_match import CaptionMatchTask

        return CaptionMatchTask(
            self.data.open(), name=self.data.name, samples=self.samples, patterns=self.patterns
        )
