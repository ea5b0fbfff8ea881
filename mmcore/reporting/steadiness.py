"""How steadily a run learned: losses that leapt, and how far the gradient's norm swings."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mmcore.reporting.facts import Facts
from mmcore.reporting.story import Line, Story
from mmcore.training.spikes import HISTORY, SpikeGuard

UNKNOWN_WARMUP = 0.1
"""Share of a stage that is taken for warm-up where no recipe says how long it is."""


def spikes(story: Story, stage: str, facts: Facts) -> list[int]:
    """Steps of the stage whose loss leapt, by the rule of a run's own guard."""
    guard = SpikeGuard(deviations=facts.spike)
    before: list[float] = []
    found = []
    for step in story.of_stage(stage):
        loss = step["loss"]
        if not math.isfinite(loss):
            continue
        limit = guard.limit(before[-HISTORY:])
        if limit is not None and loss > limit:
            found.append(step["step"])
        before.append(loss)
    return found


def after_warmup(story: Story, stage: str, facts: Facts) -> Sequence[Line]:
    """The steps of a stage whose learning rate has grown to its highest; all of them where the
    stage is not longer than that."""
    steps = story.of_stage(stage)
    known = facts.stages.get(stage)
    warmup = known.warmup if known else math.ceil(UNKNOWN_WARMUP * len(steps))
    return steps[warmup:] or steps


def gradient_variance(story: Story, facts: Facts) -> float:
    """Variance of the gradient's norm over the square of its mean, after warm-up, within stages;
    nan where there are too few steps."""
    ratios = []
    for stage in story.stages:
        steps = after_warmup(story, stage, facts)
        norms = [step["grad_norm"] for step in steps if math.isfinite(step["grad_norm"])]
        if len(norms) > 1 and statistics.fmean(norms) > 0:
            ratio = statistics.variance(norms) / statistics.fmean(norms) ** 2
            ratios.append((len(norms), ratio))
    whole = sum(count for count, _ in ratios)
    return sum(count * ratio for count, ratio in ratios) / whole if whole else math.nan
