"""How the cells of a sweep learned: losses that can be compared, speed of learning, steadiness."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

from mmcore.reporting.facts import Facts
from mmcore.reporting.steadiness import gradient_variance, spikes
from mmcore.reporting.story import Line, Story
from mmcore.reporting.sweep.cells import Ran, SweepStory

LAST = 20
"""Steps over which a loss is averaged: at the end, and where a threshold is held against it."""


@attrs.frozen
class Yardstick:
    """A loss that means the same in every cell.

    Attributes:
        stage: in which it is looked at: the last that all cells have.
        objective: whose loss it is; empty for the total, where no recipe could be read.
        alike: whether all cells learn from the same sources, with the same LLM; only then may
            their losses be compared.
    """

    stage: str
    objective: str
    alike: bool


def yardstick(story: SweepStory) -> Yardstick | None:
    """None where the cells have no stage, or no objective, in common: their losses are losses of
    different things."""
    if not story.ran:
        return None
    first = story.ran[0]
    common = [
        name for name in first.story.stages if all(name in one.story.stages for one in story.ran)
    ]
    if not common:
        return None
    stage = common[-1]
    if any(one.facts.unknown for one in story.ran):
        return Yardstick(stage, "", alike=False) if not _several(story) else None
    alike = len({one.facts.stages[stage].taught for one in story.ran}) == 1
    for name in first.facts.stages[stage].objectives:
        if all(name in one.facts.stages[stage].objectives for one in story.ran):
            return Yardstick(stage, name, alike)
    return None


def _several(story: SweepStory) -> bool:
    """Whether any run has a loss of several terms."""
    return any(one.story.names("loss/") for one in story.ran)


def loss_name(yard: Yardstick, steps: Sequence[Line]) -> str:
    """A term has a name of its own only where there are several."""
    own = f"loss/{yard.objective}"
    return own if any(own in step for step in steps) else "loss"


def curve(run: Ran, yard: Yardstick) -> list[tuple[float, float]]:
    """Tokens so far in the stage, and the loss of the step at which they were."""
    return measured(run.story, yard.stage, loss_name(yard, run.story.of_stage(yard.stage)))


def measured(story: Story, stage: str, name: str) -> list[tuple[float, float]]:
    """Tokens so far in the stage, and what was measured of the step; without what is not finite."""
    points, tokens = [], 0.0
    for step in story.of_stage(stage):
        tokens += step["tokens"]
        value = step.get(name, math.nan)
        if math.isfinite(value):
            points.append((tokens, value))
    return points


def end(points: Sequence[tuple[float, float]]) -> float:
    """Mean of the last steps; nan of none."""
    last = [value for _, value in points[-LAST:]]
    return statistics.fmean(last) if last else math.nan


def reached(points: Sequence[tuple[float, float]], threshold: float) -> float | None:
    """Tokens after which the mean of the last steps stays at or below the threshold; None where
    it is above it at the end."""
    found = None
    for number in range(len(points)):
        window = points[max(0, number + 1 - LAST) : number + 1]
        if len(window) < min(LAST, len(points)):
            continue
        if statistics.fmean(value for _, value in window) > threshold:
            found = None
        elif found is None:
            found = points[number][0]
    return found


@attrs.frozen
class Learning:
    """How a cell learned.

    Attributes:
        loss: of the yardstick, mean of its last steps; nan where there is no yardstick.
        converged: tokens until its loss stayed below what the worst cell reached; None likewise.
        variance: of the gradient's norm after warm-up, over the square of its mean.
        spikes: losses that leapt.
        skipped: steps without a finite gradient, of all stages.
        incidents: lines of the incident log.
        tokens: of all stages.
        steps: likewise.
        seconds: of the whole cell, with evaluations.
        tokens_per_second: of the steps.
    """

    loss: float
    converged: float | None
    variance: float
    spikes: int
    skipped: int
    incidents: int
    tokens: float
    steps: int
    seconds: float
    tokens_per_second: float


def threshold(story: SweepStory) -> float | None:
    """What the worst cell reaches at its end, which all cells therefore reach; None where losses
    cannot be compared."""
    yard = yardstick(story)
    if yard is None or not yard.alike:
        return None
    ends = [value for run in story.ran if math.isfinite(value := end(curve(run, yard)))]
    return max(ends, default=None)


def learned(story: SweepStory) -> dict[str, Learning]:
    """Of every cell that finished, by its id."""
    yard, limit = yardstick(story), threshold(story)
    return {run.cell.id: _learning(run, yard, limit) for run in story.ran}


def _learning(run: Ran, yard: Yardstick | None, limit: float | None) -> Learning:
    steps, facts = run.story.steps, run.facts
    points = curve(run, yard) if yard is not None else []
    tokens = sum(step["tokens"] for step in steps)
    return Learning(
        loss=end(points),
        converged=reached(points, limit) if limit is not None else None,
        variance=gradient_variance(run.story, facts),
        spikes=spike_count(run.story, facts),
        skipped=sum(int(run.story.of_stage(one)[-1]["skipped"]) for one in run.story.stages),
        incidents=len(run.story.incidents),
        tokens=tokens,
        steps=len(steps),
        seconds=run.outcome.seconds,
        tokens_per_second=tokens / sum(step["seconds"] for step in steps),
    )


def spike_count(story: Story, facts: Facts) -> int:
    return sum(len(spikes(story, stage, facts)) for stage in story.stages)
