"""A plan: what every stage of a recipe costs on so many GPUs, without weights, data or a GPU."""

from __future__ import annotations

import math

import attrs

from mmcore.adapters import check_adapters
from mmcore.interfaces import ADAPTERS
from mmcore.planning.advice import changes
from mmcore.planning.costs import Costs, share
from mmcore.planning.gpus import Gpu, gpu_named
from mmcore.planning.report import FlopPlan, Plan, StagePlan, TokenPlan
from mmcore.recipe import Recipe, Stage


def plan(recipe: Recipe, gpus: int = 1, gpu: str | Gpu | None = None, mfu: float = 0.4) -> Plan:
    """What the stages of a recipe need in memory, work and time.

    Full packs are assumed: as many tokens and views as the batch tables allow. What GPUs say to
    one another, reading data, evaluations and checkpoints take time that is not counted here, but
    in ``mfu``.

    Args:
        recipe: checked; nothing that it names needs to be on this machine.
        gpus: how many there are.
        gpu: their kind; without it nothing is said about time, nor whether it fits.
        mfu: share of the kind's peak rate that is reached, counted over all work, also what is
            repeated to save memory.

    Raises:
        ValueError: an argument is out of range, the recipe's engine cannot use so many, or
            adapters are wanted for layers that a part does not have.
    """
    if gpus < 1:
        raise ValueError(f"gpus is {gpus}, wanted at least 1")
    if not 0 < mfu <= 1:
        raise ValueError(f"mfu is {mfu}, wanted above 0 and at most 1")
    if gpus > 1 and not recipe.engine.multi_process:
        raise ValueError(
            f"engine {recipe.engine.name!r} runs on one process, and this plan has {gpus} GPUs; "
            "write --set engine.use=deepspeed"
        )
    kind = gpu_named(gpu) if isinstance(gpu, str) else gpu
    peak = None
    if kind is not None:
        peak = kind.bf16 if recipe.engine.precision == "bf16" else kind.fp32
    check_adapters(recipe)
    costs = Costs(recipe)
    rate = None if peak is None else peak * mfu
    stages = [_stage(recipe, stage, costs, gpus, kind, rate) for stage in recipe.stages]
    if kind is not None:
        stages = _advised(recipe, stages, costs, gpus, kind)
    return Plan(recipe=recipe.name, gpus=gpus, gpu=kind, peak=peak, mfu=mfu, stages=tuple(stages))


def _stage(
    recipe: Recipe, stage: Stage, costs: Costs, gpus: int, gpu: Gpu | None, rate: float | None
) -> StagePlan:
    size, work = costs.work(stage, gpus)
    memory = costs.memory(stage, gpus)
    packs = stage.batch.packs_per_step
    shared = share(recipe.data.lanes, packs, gpus)
    per_step = packs * size.tokens
    steps, why = _steps(stage, per_step)
    flops = FlopPlan(work.forward * packs, work.backward * packs, work.recompute * packs)
    seconds = None
    if rate is not None and steps is not None:
        of_pack = work.forward + work.backward + work.recompute
        seconds = steps * shared.packs * of_pack / rate
    views = stage.tiler.max_views
    return StagePlan(
        name=stage.name,
        parts=costs.parts(stage),
        tokens=TokenPlan(
            per_view=size.tokens_per_view,
            views_per_picture=views,
            per_picture=stage.tiler.max_groups * size.tokens_per_view,
            pack=size.tokens,
            views_of_pack=size.views,
            samples_of_pack=size.samples,
            per_step=per_step,
        ),
        memory=memory,
        packs_per_step=packs,
        packs_per_gpu=shared.packs,
        flops=flops,
        steps=steps,
        seconds=seconds,
        fits=None if gpu is None else memory.fits(gpu),
        notes=(*why, *shared.notes, *_frozen(stage)),
    )


def _frozen(stage: Stage) -> tuple[str, ...]:
    named = dict.fromkeys(one.frozen_model for one in stage.objectives)
    folders = [repr(name) for name in named if name not in ("", ADAPTERS)]
    if not folders:
        return ()
    return (
        f"the weights of the model in {' and '.join(folders)}, which every GPU holds whole beside "
        "these, are not counted; its work is taken for that of this model",
    )


def _steps(stage: Stage, per_step: int) -> tuple[int | None, tuple[str, ...]]:
    if stage.tokens is not None:
        return math.ceil(stage.tokens / per_step), ()
    if stage.steps is not None:
        return stage.steps, ()
    why = (
        f"it lasts {stage.epochs:g} epochs: how many steps and hours that is depends on how many "
        "rows the data has and how long they are, which a plan does not read"
    )
    return None, (why,)


def _advised(
    recipe: Recipe, stages: list[StagePlan], costs: Costs, gpus: int, gpu: Gpu
) -> list[StagePlan]:
    """The same, with what would help beside the stage that needs most, if it does not fit."""
    worst = max(range(len(stages)), key=lambda number: stages[number].memory.most)
    if stages[worst].fits:
        return stages
    found = tuple(changes(recipe, recipe.stages[worst], costs, gpus, gpu))
    notes = (*stages[worst].notes, *_too_large_at_the_start(stages[worst], gpu))
    stages[worst] = attrs.evolve(stages[worst], changes=found, notes=notes)
    return stages


def _too_large_at_the_start(stage: StagePlan, gpu: Gpu) -> tuple[str, ...]:
    start = attrs.evolve(stage.memory, items=())
    if start.fits(gpu):
        return ()
    return (
        "the weights, with what the engine keeps beside them, are more than a GPU has room for "
        "before the first pack",
    )
