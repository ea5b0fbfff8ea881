"""Announces the puzzles and the task that asks the held-out ones."""

from __future__ import annotations

from mmcore_puzzles.spec import PuzzlesSpec
from mmcore_puzzles.task_spec import PuzzleSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [PuzzlesSpec, PuzzleSpec]
