"""A tracker listens to a run: loggers and callbacks.

A tracker object implements any of the run hooks with ``mmcore_registry.hookimpl``; their
signatures are in ``mmcore/training/hooks.py``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs

from mmcore_registry import Spec

METRICS = "metrics.jsonl"
"""In the run folder: a line of JSON per step, from the tracker `jsonl`, that reports and replays
read."""

Tracker = object
"""Any object with ``@hookimpl`` methods named after the run hooks."""


@attrs.frozen
class RunInfo:
    """What is known when a run (or a resumed run) starts.

    Attributes:
        name: of the run.
        folder: the run folder.
        step: steps already done; what a tracker wrote for later steps is to be dropped.
        recipe: the resolved recipe, as TOML text.
    """

    name: str
    folder: Path
    step: int
    recipe: str


@attrs.frozen
class StageInfo:
    """What is known when a stage starts (or goes on), and when it ends.

    Attributes:
        name: of the stage.
        number: its place among the stages, from 1.
        stages: how many stages there are.
        summary: line by line; at the start, what learns, what is frozen, and the audit of the
            first samples; at the end, what it was trained on.
    """

    name: str
    number: int
    stages: int
    summary: tuple[str, ...]


@attrs.frozen
class StepReport:
    """One optimizer step.

    Attributes:
        stage: name of the stage.
        step: number of the step within the run, from 1.
        stage_step: number of the step within the stage, from 1.
        progress: share of the stage's budget that is behind it, 0..1.
        values: everything measured, by name, such as ``loss``, ``lr``, ``tokens_per_second``.
    """

    stage: str
    step: int
    stage_step: int
    progress: float
    values: Mapping[str, float]


@attrs.frozen
class ValidationReport:
    """How the model did on held-out rows, in the middle of a stage.

    Attributes:
        stage: name of the stage.
        step: steps of the run done by then.
        values: everything measured, by name, such as ``validation/loss``.
        best: whether it is the best so far by what the recipe keeps the best checkpoint by.
    """

    stage: str
    step: int
    values: Mapping[str, float]
    best: bool = False


@attrs.frozen(kw_only=True)
class Incident:
    """Something went wrong in a step, and the run went on or back.

    Attributes:
        step: number of the step within the run.
        kind: ``not-finite``, ``spike`` or ``rolled-back``.
        detail: in words.
        keys: of the samples that may be to blame, the likeliest first.
        sources: mean loss per label of every source in the step, where it is known.
    """

    step: int
    kind: str
    detail: str
    keys: tuple[str, ...] = ()
    sources: Mapping[str, float] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class TrackerSpec(Spec):
    """Describes a tracker that a recipe names under ``[[trackers]]``."""

    kind: ClassVar[str] = "tracker"

    @abstractmethod
    def build(self, run: RunInfo) -> Tracker:
        """The tracker of one run."""
