"""Everything that is wrong with a recipe, in one error: each fault with its place and a hint."""

from __future__ import annotations

from collections.abc import Iterable

import attrs


@attrs.frozen(order=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: the recipe, one of its parents, or the ``--set`` argument.
        line: line of the file, from 1; 0 where there is none.
        key: key path as ``--set`` takes it; empty for the file as a whole.
        message: the value it had and what was wanted.
        hint: what the reader can do, or empty.
    """

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    @property
    def place(self) -> str:
        """``file:line``, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.place}: {key}{self.message}{hint}"


class RecipeError(ValueError):
    """A recipe cannot be run; ``faults`` says everything that is known to be wrong with it.

    ``advice`` is what can be done all the same, or empty.
    """

    def __init__(self, faults: Iterable[Fault], advice: str = "") -> None:
        self.faults: tuple[Fault, ...] = tuple(sorted(set(faults)))
        self.advice = advice
        super().__init__(self.faults, advice)

    @property
    def count(self) -> str:
        """How many faults, in words."""
        return "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"

    def __str__(self) -> str:
        lines = [*(str(fault) for fault in self.faults), self.count]
        return "\n".join([*lines, self.advice] if self.advice else lines)
