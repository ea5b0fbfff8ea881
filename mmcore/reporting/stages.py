"""What every stage of a run came to, in figures: how long, how fast, how good."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from mmcore.reporting.figures import SPLIT
from mmcore.reporting.story import Line, Story

LAST = 20
"""Steps over which a stage's last loss is averaged."""


@attrs.frozen
class StageRow:
    """A stage.

    Attributes:
        steps, tokens, seconds: made, learned from, and taken, with what is between steps.
        tokens_per_second: of the steps.
        mfu: tokens weighted; None where it is not known.
        waiting: share of the steps' time in which data was waited for.
        loss: of the last steps.
        best, best_step: lowest finite validation loss, and when; None where there was none.
        skipped: steps that changed nothing.
    """

    name: str
    steps: int
    tokens: float
    seconds: float
    tokens_per_second: float
    mfu: float | None
    waiting: float
    loss: float
    best: float | None
    best_step: int | None
    skipped: int


@attrs.frozen
class Share:
    """Of the time of a run, what went where."""

    name: str
    seconds: float
    share: float


def stage_rows(story: Story) -> list[StageRow]:
    return [_row(story, name, story.of_stage(name)) for name in story.stages]


def _row(story: Story, name: str, steps: Sequence[Line]) -> StageRow:
    inside = sum(step["seconds"] for step in steps)
    between = sum(
        step.get(one, 0.0) for step in steps for one in ("time/checkpoint", "time/validation")
    )
    losses = [
        (one["values"]["validation/loss"], one["step"])
        for one in story.validations
        if one["stage"] == name and math.isfinite(one["values"]["validation/loss"])
    ]
    best = min(losses, default=(None, None))
    last = [step["loss"] for step in steps[-LAST:] if math.isfinite(step["loss"])]
    tokens = sum(step["tokens"] for step in steps)
    known = [step for step in steps if "mfu" in step]
    return StageRow(
        name=name,
        steps=len(steps),
        tokens=tokens,
        seconds=inside + between,
        tokens_per_second=tokens / inside,
        mfu=_mean_mfu(known) if known else None,
        waiting=sum(step["data_wait_share"] * step["seconds"] for step in steps) / inside,
        loss=sum(last) / len(last) if last else math.nan,
        best=best[0],
        best_step=best[1],
        skipped=int(steps[-1]["skipped"]),
    )


def _mean_mfu(steps: Sequence[Line]) -> float:
    """Of all their FLOPs over all their time."""
    seconds = sum(step["seconds"] for step in steps)
    return float(sum(step["mfu"] * step["seconds"] for step in steps) / seconds)


def time_shares(story: Story) -> list[Share]:
    """Of the whole run, the largest first."""
    sums = {
        label: sum(step.get(name, 0.0) for step in story.steps) for name, label in SPLIT.items()
    }
    whole = sum(sums.values())
    found = [Share(label, seconds, seconds / whole) for label, seconds in sums.items() if seconds]
    return sorted(found, key=lambda one: -one.seconds)
