"""What every cell costs, by `mmcore plan`'s reckoning; seeds of one point are measured once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from mmcore.planning.planner import plan
from mmcore.planning.report import Plan
from mmcore.recipe import Recipe, Stage, to_toml
from mmcore.sweeps.folder import Cell, SweepFolder
from mmcore.sweeps.recipes import CellRecipe


@attrs.frozen(kw_only=True)
class Machine:
    """What the hours are said for.

    Attributes:
        gpus: of one cell.
        gpu: their kind; None says nothing about time, nor whether it fits.
        mfu: share of the peak that is reached.
        rate: operations per second instead, as somebody measured them; None is unknown.
    """

    gpus: int = 1
    gpu: str | None = None
    mfu: float = 0.4
    rate: float | None = None


@attrs.frozen(kw_only=True)
class CellCost:
    """A cell, planned; ``cell`` is what the folder of the sweep will say of it.

    Attributes:
        seconds: None without a speed, or where only the data can tell how long it is.
        fits: into the GPU; None without one.
        memory: bytes of the GPU that needs most.
    """

    cell: Cell
    seconds: float | None
    fits: bool | None
    memory: int


def costs(
    cells: Sequence[CellRecipe],
    machine: Machine | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[CellCost, ...]:
    """What all cells cost.

    Args:
        told: is told which cell is being planned.

    Raises:
        ValueError: the machine is not known, or no cell can use it.
    """
    on = machine or Machine()
    plans: dict[str, Plan] = {}
    found = []
    for cell in cells:
        key = to_toml(attrs.evolve(cell.recipe, seed=0))
        if key not in plans:
            told(cell.id)
            plans[key] = plan(cell.recipe, on.gpus, on.gpu, on.mfu)
        found.append(_cost(cell, plans[key], on))
    return tuple(found)


def _cost(cell: CellRecipe, planned: Plan, machine: Machine) -> CellCost:
    chosen = cell.combination
    steps = [stage.steps for stage in planned.stages if stage.steps is not None]
    known = len(steps) == len(planned.stages)
    flops = planned.flops
    seconds = planned.seconds
    if machine.rate is not None:
        seconds = None if flops is None else flops / machine.rate
    return CellCost(
        cell=Cell(
            id=chosen.id,
            labels=dict(chosen.labels),
            seed=chosen.seed,
            overrides=chosen.overrides,
            tokens=_tokens(cell.recipe, planned),
            flops=flops,
            trainable=_trainable(planned),
            steps=sum(steps) if known else None,
        ),
        seconds=seconds,
        fits=planned.fits,
        memory=planned.memory,
    )


def _tokens(recipe: Recipe, planned: Plan) -> float | None:
    """Positions that all stages train on; of one that lasts steps, if their packs are full."""
    total = 0.0
    for stage, cost in zip(recipe.stages, planned.stages, strict=True):
        if cost.steps is None:
            return None
        total += cost.steps * cost.tokens.per_step if stage.tokens is None else stage.tokens
    return total


def _trainable(planned: Plan) -> int:
    """Parameters that learn in some stage: of every part, the most that do in one."""
    most: dict[str, int] = {}
    for stage in planned.stages:
        for part in stage.parts:
            most[part.part] = max(most.get(part.part, 0), part.trainable)
    return sum(most.values())


def lengths(stages: Iterable[Stage], factor: float) -> tuple[str, ...]:
    """Changes that make the stages so many times as long.

    Raises:
        ValueError: a stage lasts epochs, whose length a plan does not know.
    """
    changes = []
    for stage in stages:
        key = f'stages."{stage.name}"'
        if stage.tokens is not None:
            changes.append(f"{key}.tokens={stage.tokens * factor!r}")
        elif stage.steps is not None:
            changes.append(f"{key}.steps={max(1, round(stage.steps * factor))}")
        else:
            raise ValueError(f"stage {stage.name!r} lasts epochs: only the data knows how long")
    return tuple(changes)


def by_point(found: Iterable[CellCost]) -> Mapping[tuple[str, ...], CellCost]:
    """One cost of every point of the axes: seeds cost the same."""
    points: dict[tuple[str, ...], CellCost] = {}
    for one in found:
        points.setdefault(tuple(one.cell.labels.values()), one)
    return points


def measured_rate(folder: SweepFolder) -> float | None:
    """Operations per second of the cells that have finished without a break, start-up, reading and
    questions included; None before the first of them."""
    finished = [
        (cell.flops, outcome.seconds)
        for cell in folder.sweep.cells
        if (outcome := folder.outcomes.get(cell.id)) is not None
        and outcome.finished
        and outcome.environment.get("starts") == 1
        and cell.flops is not None
    ]
    seconds = sum(seconds for _, seconds in finished)
    return sum(flops for flops, _ in finished) / seconds if seconds else None
