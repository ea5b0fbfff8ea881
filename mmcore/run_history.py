"""What a run folder says of the run's past: its starts, its steps, and where its stages ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcore.interfaces import METRICS
from mmcore.kit.json_lines import entries
from mmcore.recipe import Recipe
from mmcore.run_folder import ENVIRONMENT, STAGE_FILE
from mmcore.training.progress import Progress

NEVER = 2**62

Recorded = Mapping[str, float | None]
"""What was written down of a step, by name; None is a number that was not finite."""


class RunHistory:
    """Reads once, and changes nothing.

    Args:
        folder: of the run.
        recipe: of the run.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self._names = [stage.name for stage in recipe.stages]
        self._starts = _starts(folder / ENVIRONMENT)
        self._ends = {name: _end(folder / STAGE_FILE.format(name)) for name in self._names}
        self.steps: Mapping[int, Recorded] = recorded_steps(folder / METRICS)

    def ranks(self, step: int) -> int:
        """How many processes made this step."""
        return int(self._starts_before(step)[-1]["ranks"]) if self._starts else 1

    def first(self, step: int) -> int:
        """Number of the stage with which the run began that came to this step."""
        named = [one["stage"] for one in self._starts_before(step) if one.get("stage")]
        return self._names.index(named[-1]) if named else 0

    def weights(self, stage: str) -> Path | None:
        """What the stage began from, where that was not the stage before it."""
        named = [one["from"] for one in self._starts if one.get("stage") == stage]
        return Path(named[-1]) if named else None

    def end(self, stage: str) -> int:
        """The step of the run with which the stage ended; a large number if it has not."""
        return self._ends[stage]

    def _starts_before(self, step: int) -> list[dict[str, Any]]:
        return [one for one in self._starts if one.get("after_step", 0) < step]


def recorded_steps(path: Path) -> dict[int, Recorded]:
    """What the tracker `jsonl` wrote of every step; nothing where it did not listen."""
    return {entry["step"]: entry for entry in entries(path) if "loss" in entry}


def _starts(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _end(path: Path) -> int:
    if not path.exists():
        return NEVER
    return Progress.from_json(json.loads(path.read_text(encoding="utf-8"))).step
