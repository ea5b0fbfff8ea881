"""The recipe table of the task that asks held-out puzzles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from mmcore.interfaces import SourceSpec, Task, TaskSpec
from mmcore_puzzles.spec import PuzzlesSpec
from mmcore_registry import Problem, doc


@attrs.frozen(kw_only=True)
class PuzzleSpec(TaskSpec):
    """Held-out puzzles with one right answer, scored by kind and level against chance."""

    name: ClassVar[str] = "puzzle"

    data: SourceSpec = attrs.field(
        validator=attrs.validators.instance_of(SourceSpec),  # type: ignore[type-abstract]  # never made
        metadata=doc("the source `puzzles`, with held-out rows; its first rows are asked"),
    )

    def problems(self) -> Iterator[Problem]:
        if not isinstance(self.data, PuzzlesSpec):
            yield Problem("data.use", f"is {self.data.name!r}, wanted 'puzzles'")
            return
        if not self.data.synthetic.held_out:
            yield Problem(
                "data.synthetic",
                "is not held out, and training may show it; wanted held_out = true",
            )
        if self.data.synthetic.rows < self.samples:
            yield Problem(
                "samples", f"is {self.samples}, and data.synthetic.rows {self.data.synthetic.rows}"
            )

    def build(self) -> Task:
        from mmcore_puzzles.task import PuzzleTask

        assert isinstance(self.data, PuzzlesSpec), "`problems` says it"
        return PuzzleTask(self.data.open(), samples=self.samples)
