"""Time the steps of a stage as training makes them, and its data alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs
import torch

from mmcore import assemble
from mmcore.interfaces import World
from mmcore.recipe import Recipe, Stage
from mmcore.training.ranks import this_device


@attrs.frozen
class StageTimes:
    """What was measured over the steps of one stage.

    Attributes:
        first_step: seconds from building the model until the first step had ended.
        step_seconds: of each later step, its wait for data included.
        step_cpu_seconds: the same, of all threads of the process: less moved by what else runs.
        data_seconds: of each step's packs, made while nothing else ran.
        tokens, views: of the timed steps, blank ones not counted.
        fill: tokens of the timed packs, as a share of what they could hold.
    """

    first_step: float
    step_seconds: Sequence[float]
    step_cpu_seconds: Sequence[float]
    data_seconds: Sequence[float]
    tokens: int
    views: int
    fill: float


def measure_stage(recipe: Recipe, stage: Stage, steps: int) -> StageTimes:
    """Run ``steps`` timed steps of a stage from initial weights; nothing is written.

    Raises:
        ValueError: the recipe's model or engine cannot run here.
    """
    world = World(device=this_device())
    prepared = assemble.training_preparer(recipe.model, stage, recipe.model.llm.text())
    data_seconds = []
    loader = assemble.pack_loader(recipe, stage, prepared, world)
    loader.next_step()
    for _ in range(steps):
        data_seconds.append(loader.next_step().wait_seconds)
    loader.close()

    began = time.perf_counter()
    initial = assemble.initial_model(recipe.model, recipe.seed, torch.device(world.device))
    learning = assemble.started(recipe, stage, initial, world)
    loader = assemble.pack_loader(recipe, stage, prepared, world)
    first_step, tokens, views, packs = 0.0, 0, 0, 0
    step_seconds, step_cpu_seconds = [], []
    cpu_began = time.process_time()
    for number in range(steps + 1):
        data = loader.next_step()
        divisors = [
            max(1.0, sum(objective.count(batch) for batch in data.batches))
            for objective in learning.objectives
        ]
        for batch in data.batches:
            learning.engine.backward(batch, divisors)
        learning.engine.step(1.0).item()  # waits for the device
        now, cpu = time.perf_counter(), time.process_time()
        if number == 0:
            first_step = now - began
        else:
            step_seconds.append(now - began)
            step_cpu_seconds.append(cpu - cpu_began)
            tokens += sum(batch.tokens for batch in data.batches)
            views += sum(batch.views for batch in data.batches)
            packs += len(data.batches)
        began, cpu_began = now, cpu
    loader.close()
    fill = tokens / (packs * stage.batch.max_tokens)
    return StageTimes(first_step, step_seconds, step_cpu_seconds, data_seconds, tokens, views, fill)
