"""The loop over the steps of one stage: count, backward, step, report, save.

The counts of a step are added up over packs and ranks before any forward, so neither packing nor
micro-batches nor ranks change the gradient. One step waits for the device once, for its losses
(and where an objective draws among the samples of the step, for what it draws from).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

import attrs
import torch

from mmcore.interfaces import PackedBatch, StepReport, World
from mmcore.training.comparing import compared
from mmcore.training.guards import (
    DivergedError,
    TooManyRejectedError,
    check_finite,
    check_rejected,
    memory_told,
    update_told,
)
from mmcore.training.hooks import Hooks
from mmcore.training.incidents import try_largest, watch_losses
from mmcore.training.measures import (
    CALL,
    CHECKPOINT,
    DATA_WAIT,
    EXCHANGE,
    OPTIMISER,
    VALIDATION,
    StepWatch,
    left_over,
    part_norms,
    rates_of,
)
from mmcore.training.progress import Progress
from mmcore.training.ranks import seed_step
from mmcore.training.source_losses import losses_by_source, sums_by_source
from mmcore.training.spikes import RollBack
from mmcore.training.stage import StageRun
from mmcore.training.stalls import note
from mmcore.training.step_facts import StepFacts, facts_of, shared


def train_stage(
    run: StageRun,
    progress: Progress,
    *,
    world: World,
    hooks: Hooks,
    save: Callable[[Progress], None],
    every_steps: int,
    stop: Callable[[], bool],
    look: Callable[[bool], None] = lambda wait: None,
) -> Progress:
    """Train until the stage's budget is spent, its early stop ends it, or some rank was asked to
    stop: then it is saved at once, and a validation that is due is made when the run goes on.

    Args:
        progress: where to go on; its stage is the one of ``run``.
        save: writes a checkpoint of this progress, or begins to; called by all ranks, every
            ``every_steps`` steps of the run and at the end, whichever way it came.
        stop: asked on every rank at the end of each step.
        look: called after every step, to see after what is saved in the background; at the end,
            and before the run must not go on, with True, to wait for it.

    Returns:
        how far it came; ``finished`` is false where it was stopped.

    Raises:
        DivergedError, TooManyRejectedError, OutOfMemoryError: see ``guards``; nothing is saved.
        MissingMeasureError: what the early stop watches is not measured; nothing is saved.
        RollBack: the stage is to go on from the last checkpoint.
    """
    try_largest(run, progress.step)
    saved = False
    watch = StepWatch(run.engine.device, run.measured, run.module)

    def settled(progress: Progress, wanted: bool) -> tuple[Progress, bool]:
        """Validated where it is time, and saved where that is wanted or it was the best; whether
        it was saved. The end of a stage is left to be saved as such."""
        progress, best = _validated(run, progress, hooks, watch)
        if not (wanted or best) or _over(run, progress):
            return progress, False
        with watch.between(CHECKPOINT):
            save(progress)
        return progress, True

    with watch.watching():
        if progress.validation_due:
            progress, saved = settled(attrs.evolve(progress, validation_due=False), False)
        while not _over(run, progress):
            before = progress
            progress, report, keys, stop_now = _step(run, progress, world, hooks, watch, stop)
            note("telling the trackers")
            hooks.step_end(report)
            try:
                watch_losses(run, before, progress, report.values["loss"], hooks, keys)
                check_finite(progress, run.max_skipped_in_a_row, keys)
                check_rejected(progress, run.max_rejected_share)
            except (DivergedError, TooManyRejectedError, RollBack):
                look(True)  # all ranks are here, and what is being saved was good
                raise
            with watch.between(CHECKPOINT):
                look(False)
            progress = _heard(run, progress, report.values)
            if stop_now and not _over(run, progress):
                progress, saved = _put_off(run, progress), False
                break
            progress, saved = settled(progress, progress.step % every_steps == 0)
    if _over(run, progress):
        progress = _ended(run, progress)
    if not saved:
        save(progress)
    look(True)
    return progress


def _over(run: StageRun, progress: Progress) -> bool:
    """Whether the stage's budget is spent, or its early stop has lost patience."""
    early = run.early_stop is not None and run.early_stop.over(progress)
    return early or run.budget.spent(progress) >= 1.0


def _heard(run: StageRun, progress: Progress, values: Mapping[str, float]) -> Progress:
    """Values of a step or a validation, told to the early stop."""
    return progress if run.early_stop is None else run.early_stop.heard(progress, values)


def _put_off(run: StageRun, progress: Progress) -> Progress:
    """The progress of a run that stops now; what is due may take longer than it is given."""
    due = run.validation is not None and run.validation.due(progress, False)
    return attrs.evolve(progress, validation_due=due)


def _ended(run: StageRun, progress: Progress) -> Progress:
    why = ""
    if run.early_stop is not None:
        run.early_stop.check_seen(progress)
        why = run.early_stop.told(progress) if run.early_stop.over(progress) else ""
    return attrs.evolve(progress, finished=True, ended_early=why)


def _validated(
    run: StageRun, progress: Progress, hooks: Hooks, watch: StepWatch
) -> tuple[Progress, bool]:
    """Hold the model to its validation where it is time, and tell the early stop; whether it is the
    best one so far."""
    validation = run.validation
    if validation is None or not validation.due(progress, _over(run, progress)):
        return progress, False
    with watch.between(VALIDATION):
        result = validation.validate(run, progress, watch)
        hooks.validated(result)
    return _heard(run, progress, result.values), result.best


def _step(
    run: StageRun,
    progress: Progress,
    world: World,
    hooks: Hooks,
    watch: StepWatch,
    stop: Callable[[], bool],
) -> tuple[Progress, StepReport, Sequence[str], bool]:
    """Make a step; its samples, and whether any rank was asked to stop by its end."""
    began = time.perf_counter()
    number = progress.step + 1
    note("waiting for data", number)
    data = run.loader.next_step()
    note("telling the other ranks of its data")
    watch.clock.forget()
    watch.clock.add(DATA_WAIT, 0.0, data.wait_seconds)
    mine = facts_of(data, run.objectives, watch.measured.flops)
    with watch.clock.host(EXCHANGE):
        facts = shared(mine)
    for key, reason, detail in facts.rejected:
        hooks.sample_rejected(number, key, reason, detail)
    seed_step(run.seed, number, world.rank)
    multiplier = run.optimizer.multiplier(progress.stage_step, run.budget.spent(progress))
    sums, norms = _update(run, data.batches, facts.divisors, multiplier, number, watch)
    note("adding up losses over the ranks")
    sums, times, stop_now = watch.shared(sums, stop())
    norm, count = norms.pop("grad_norm"), len(run.objectives)
    known = count + len(run.told)
    losses = _losses(run, facts, sums[:count])
    finite = math.isfinite(norm) and all(map(math.isfinite, sums[:count]))
    progress = progress.after_step(
        tokens=facts.tokens,
        counts=facts.counts,
        finite=finite,
        loss=losses["loss"] if finite else None,
    )
    losses |= run.told.means(sums[count:known], facts.divisors, run.objective_names)
    if run.segment_losses.heard:
        losses |= losses_by_source(sums[known:], facts.source_labels, watch.measured.sources)
    seconds = time.perf_counter() - began
    values = {
        **losses,
        "grad_norm": norm,
        **norms,
        "lr": run.optimizer.lr * multiplier,
        **{f"lr/{part}": rate * multiplier for part, rate in watch.measured.rates.items()},
        **rates_of(facts, seconds, world.size, watch.measured),
        **times,
        "time/other": left_over(times, seconds),
        "skipped": float(progress.skipped),
    }
    report = StepReport(
        stage=run.name,
        step=progress.step,
        stage_step=progress.stage_step,
        progress=min(run.budget.spent(progress), 1.0),
        values=values,
    )
    return progress, report, facts.keys, stop_now


def _update(
    run: StageRun,
    batches: Sequence[PackedBatch],
    divisors: Sequence[float],
    multiplier: float,
    number: int,
    watch: StepWatch,
) -> tuple[list[float], dict[str, float]]:
    """Backward of every pack, and the step: this rank's sums (losses of the objectives, what these
    told, losses of the sources), and the gradient's norms by name."""
    batches = compared(run, batches, number, watch.clock.span(CALL))
    total = torch.zeros(len(run.objectives), device=run.engine.device)
    run.segment_losses.clear()
    run.told.clear()
    for place, batch in enumerate(batches, start=1):
        note(f"pack {place} of {len(batches)}: forward and backward")
        with memory_told(batch, number), watch.clock.span(CALL):
            total += run.engine.backward(batch, divisors)
    note("the optimizer's update")
    with update_told(number), watch.clock.span(OPTIMISER):
        norms = {"grad_norm": run.engine.step(multiplier)}
    norms |= {f"grad_norm/{part}": norm for part, norm in part_norms(run.engine).items()}
    heard = run.segment_losses
    sums = [total, run.told.totals(total.device)]
    numbers = [*sums, *(norm.reshape(1) for norm in norms.values()), heard.totals(total.device)]
    told = torch.cat([one.double() for one in numbers]).tolist()  # the step's one wait
    count = len(total) + len(run.told)
    known = count + len(norms)
    heard.read(told[known:])
    by_source = sums_by_source(heard.samples(), watch.measured.sources)
    return [*told[:count], *by_source], dict(zip(norms, told[count:known], strict=True))


def _losses(run: StageRun, facts: StepFacts, sums: Sequence[float]) -> dict[str, float]:
    """The total loss, and each objective's own where there are several; 0 for an objective that
    has no term in the whole step."""
    means = [total / divisor for total, divisor in zip(sums, facts.divisors, strict=True)]
    losses = {"loss": sum(mean * weight for mean, weight in zip(means, run.weights, strict=True))}
    if len(means) > 1:
        named = zip(run.objective_names, means, strict=True)
        losses |= {f"loss/{name}": mean for name, mean in named}
    return losses
