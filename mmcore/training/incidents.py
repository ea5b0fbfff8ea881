"""What is told of a step that went wrong, and of the largest pack, which goes wrong early."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmcore.interfaces import Incident
from mmcore.training.guards import memory_told
from mmcore.training.hooks import Hooks
from mmcore.training.progress import Progress
from mmcore.training.ranks import gather_objects
from mmcore.training.spikes import RollBack, SampleLoss, by_source, worst
from mmcore.training.stage import StageRun
from mmcore.training.stalls import note

SHOWN = 16
"""Samples of a spike that are named, those with the highest losses."""


def try_largest(run: StageRun, step: int) -> None:
    """Run the stage's largest pack, so that memory fails now if it ever does.

    The loss is divided by infinity: the gradients are there, each exactly zero, and the first
    step adds to them what it would have had alone. Weights and moments are not touched.

    Raises:
        OutOfMemoryError: it does not fit.
    """
    if run.largest is None:
        return
    note("the largest pack, before the first step", step + 1)
    with memory_told(run.largest, step + 1):
        run.engine.backward(run.largest, [math.inf] * len(run.objectives))
    run.segment_losses.clear()


def watch_losses(
    run: StageRun,
    before: Progress,
    after: Progress,
    loss: float,
    hooks: Hooks,
    keys: Sequence[str],
) -> None:
    """Tell of a step that was skipped, or whose loss leapt; called by all ranks together.

    Args:
        before, after: progress at both ends of the step.
        keys: of all samples of the step.

    Raises:
        RollBack: the loss leapt, and the run may go back.
    """
    if after.skipped > before.skipped:
        _tell_skipped(run, after, loss, hooks, keys)
        return
    limit = run.spikes.limit(before.losses)
    if limit is None or loss <= limit:
        return
    samples = _of_all_ranks(run)
    hooks.incident(
        Incident(
            step=after.step,
            kind="spike",
            detail=f"the loss leapt to {loss:.3f}, and {limit:.3f} would have been unusual",
            keys=tuple(one.key for one in worst(samples, SHOWN)),
            sources=by_source(samples),
        )
    )
    if run.spikes.rollbacks:
        first = max(1, after.stage_step - run.spikes.margin)
        raise RollBack(run.name, first, after.stage_step)


def _tell_skipped(
    run: StageRun, after: Progress, loss: float, hooks: Hooks, keys: Sequence[str]
) -> None:
    """With the samples of the packs whose loss is not finite; where all are finite and only the
    gradient is not, with all of them."""
    packs = [pack for rank in gather_objects(run.segment_losses.packs()) for pack in rank]
    guilty = [pack for pack in packs if not math.isfinite(sum(one.total for one in pack))]
    blamed = [one.key for pack in guilty for one in pack] or list(keys)
    if guilty:
        what = f"the loss of {len(guilty)} of {len(packs)} packs was not finite"
    elif not math.isfinite(loss):
        what = f"the loss was {loss}"
    else:
        what = "the gradient was not finite, though the loss was"
    hooks.incident(
        Incident(
            step=after.step,
            kind="not-finite",
            detail=f"{what}; nothing was learned from this step",
            keys=tuple(blamed),
            sources=by_source([one for pack in packs for one in pack]),
        )
    )


def _of_all_ranks(run: StageRun) -> list[SampleLoss]:
    return [one for rank in gather_objects(run.segment_losses.samples()) for one in rank]
