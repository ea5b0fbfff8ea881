"""The recipe tables of the tasks."""

from __future__ import annotations

from typing import ClassVar

import attrs

from mmcore.interfaces import SourceSpec, Task, TaskSpec
from mmcore_registry import doc


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
