"""What a run folder tells of a run, read while it goes on or after it; needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmcore.evaluation import records
from mmcore.interfaces import METRICS, Evaluation
from mmcore.kit.json_lines import entries
from mmcore.run_folder.folder import ENVIRONMENT, RECIPE
from mmcore.run_folder.incident_log import FILE as INCIDENTS
from mmcore.run_folder.validation_log import read as read_validations
from mmcore.sweeps.folder import CELLS

Line = Mapping[str, Any]


class ReportError(ValueError):
    """There is nothing to report of this folder."""


@attrs.frozen
class Story:
    """A run, as far as it has come.

    Attributes:
        name: of the run's folder.
        steps: what was measured, a mapping a step, oldest first; what was not finite is nan.
        validations: lines of ``validations.jsonl``.
        incidents: lines of ``incidents.jsonl``.
        evaluations: all of them, oldest first.
        starts: lines of ``environment.json``, one a start.
    """

    name: str
    steps: Sequence[Line]
    validations: Sequence[Line]
    incidents: Sequence[Line]
    evaluations: Sequence[Evaluation]
    starts: Sequence[Line]

    @property
    def stages(self) -> list[str]:
        """Names of the stages that have trained, in their order."""
        return list(dict.fromkeys(step["stage"] for step in self.steps))

    def of_stage(self, name: str) -> list[Line]:
        """The steps of a stage."""
        return [step for step in self.steps if step["stage"] == name]

    def names(self, prefix: str) -> list[str]:
        """Measures of steps whose names begin so, in the order in which they came up."""
        return list(
            dict.fromkeys(name for step in self.steps for name in step if name.startswith(prefix))
        )


def read(folder: Path) -> Story:
    """
    Raises:
        ReportError: it is no run folder, or has no step yet, or nothing wrote the steps down.
    """
    if not (folder / RECIPE).is_file():
        raise ReportError(
            f"{str(folder)!r} is no run folder: it has no {RECIPE}; a sweep's has {CELLS}"
        )
    lines = [_measured(line) for line in entries(folder / METRICS)]
    steps = [line for line in lines if "stage_step" in line]
    if not steps:
        raise ReportError(
            f"{folder / METRICS} has no step: the run has made none, or its recipe has no tracker "
            '{ use = "jsonl" }'
        )
    return Story(
        name=folder.resolve().name,
        steps=steps,
        validations=read_validations(folder),
        incidents=list(entries(folder / INCIDENTS)),
        evaluations=records.read(folder),
        starts=json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")),
    )


def _measured(line: Line) -> Line:
    """Null stands for a number that is not finite."""
    return {name: math.nan if value is None else value for name, value in line.items()}
