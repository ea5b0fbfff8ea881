"""What would make a stage fit a GPU that it does not fit, each with the memory it would take."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from mmcore.planning.costs import Costs
from mmcore.planning.gpus import Gpu
from mmcore.planning.report import Change
from mmcore.recipe import Recipe, Stage

RECOMPUTE = "recompute"
"""A component with this key, true or false, can trade memory for work."""
ZERO = "zero"
"""An engine with this key, a number up to 3, can share out more."""
OFFLOAD = "offload"
"""An engine with this key can keep the optimizer's share in the host's memory."""


def changes(recipe: Recipe, stage: Stage, costs: Costs, gpus: int, gpu: Gpu) -> Iterator[Change]:
    """What the recipe's own keys offer: each alone, then all of them, then more GPUs; what would
    not lower the memory is left out."""
    now = costs.memory(stage, gpus).most
    yield from _keys(recipe, stage, now, gpus, gpu)
    for change in _sizes(recipe, stage, costs, gpus, gpu):
        if change.bytes < now:
            yield change


def _keys(recipe: Recipe, stage: Stage, now: int, gpus: int, gpu: Gpu) -> Iterator[Change]:
    together, names = recipe, []
    for name, changed in _options(recipe):
        alone = _change(name, changed, stage, None, gpus, gpu)
        if alone.bytes >= now:
            continue
        yield alone
        names.append(name)
        [(_, together)] = [one for one in _options(together) if one[0] == name]
    if len(names) > 1:
        yield _change(" ".join(names), together, stage, None, gpus, gpu)


def _sizes(recipe: Recipe, stage: Stage, costs: Costs, gpus: int, gpu: Gpu) -> Iterator[Change]:
    half = _half(stage)
    if half is not None:
        batch = f"stages.{stage.name}.batch"
        name = (
            f"--set {batch}.max_tokens={half.batch.max_tokens} "
            f"--set {batch}.max_views={half.batch.max_views}"
        )
        yield _change(name, recipe, half, costs, gpus, gpu)
    if recipe.engine.multi_process:
        yield _change(f"--gpus {2 * gpus}", recipe, stage, costs, 2 * gpus, gpu)


def _options(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Keys that save memory and are not used yet, with the recipe that uses them."""
    for part in ("encoder", "token_sampler", "llm"):
        spec = getattr(recipe.model, part)
        if RECOMPUTE in attrs.fields_dict(type(spec)) and not getattr(spec, RECOMPUTE):
            model = attrs.evolve(recipe.model, **{part: attrs.evolve(spec, **{RECOMPUTE: True})})
            yield f"--set model.{part}.{RECOMPUTE}=true", attrs.evolve(recipe, model=model)
    engine = recipe.engine
    if ZERO in attrs.fields_dict(type(engine)) and getattr(engine, ZERO) < 3:
        sharing = attrs.evolve(engine, **{ZERO: 3})  # type: ignore[arg-type]  # the subclass has it
        yield f"--set engine.{ZERO}=3", attrs.evolve(recipe, engine=sharing)
    if OFFLOAD in attrs.fields_dict(type(engine)) and getattr(engine, OFFLOAD) == "none":
        lighter = attrs.evolve(engine, **{OFFLOAD: "optimizer"})  # type: ignore[arg-type]  # the same
        if not any(problem.key == OFFLOAD for problem in lighter.problems()):
            name = f"--set engine.{OFFLOAD}=optimizer"
            yield name, attrs.evolve(recipe, engine=lighter)


def _half(stage: Stage) -> Stage | None:
    batch = stage.batch
    if batch.max_views < 2:
        return None
    smaller = attrs.evolve(batch, max_tokens=batch.max_tokens // 2, max_views=batch.max_views // 2)
    return attrs.evolve(stage, batch=smaller)


def _change(
    name: str, recipe: Recipe, stage: Stage, costs: Costs | None, gpus: int, gpu: Gpu
) -> Change:
    """``costs`` are those of the recipe, where they are known already."""
    memory = (costs or Costs(recipe)).memory(stage, gpus)
    return Change(name, memory.most, memory.fits(gpu))
