"""What the stages of a recipe cost on one GPU of many; alike ones are measured once."""

from __future__ import annotations

import math

import attrs
import torch

from mmcore.assemble import (
    built_objectives,
    empty_model,
    let_learn,
    loras_of,
    training_step,
)
from mmcore.interfaces import ADAPTERS, EngineMemory, Lora, MemoryItem
from mmcore.model.trainable import describe
from mmcore.model.vlm import VisionLanguageModel
from mmcore.planning.measure import Work, measure
from mmcore.planning.pack import PackSize, full_pack
from mmcore.planning.report import MemoryPlan, PartPlan
from mmcore.recipe import Recipe, Stage


class Costs:
    """A recipe's model on the meta device, and what its stages make of it."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._models: dict[tuple[tuple[str, Lora], ...], VisionLanguageModel] = {}
        self._measured: dict[object, Work] = {}

    def _model(self, stage: Stage) -> VisionLanguageModel:
        """With the stage's adapters; stages that have the same ones share it."""
        loras = loras_of(stage)
        key = tuple(loras.items())
        if key not in self._models:
            self._models[key] = empty_model(
                self._recipe.model, self._recipe.seed, torch.device("meta")
            )
            self._models[key].adapt(loras, self._recipe.seed)
        return self._models[key]

    def parts(self, stage: Stage) -> tuple[PartPlan, ...]:
        """Sizes of the parts, as the stage trains them."""
        model = self._model(stage)
        let_learn(self._recipe.model, stage, model)
        return tuple(
            PartPlan(
                part=size.part,
                component=getattr(self._recipe.model, size.part).name,
                parameters=size.parameters,
                trainable=size.trainable,
            )
            for size in describe(model)
        )

    def engine(self, stage: Stage, ranks: int) -> EngineMemory:
        """What the engine holds in the stage."""
        parts = self.parts(stage)
        return self._recipe.engine.memory(
            trainable=sum(part.trainable for part in parts),
            frozen=sum(part.frozen for part in parts),
            moments=stage.optimizer.moments,
            ranks=ranks,
        )

    def work(self, stage: Stage, ranks: int) -> tuple[PackSize, Work]:
        """A full pack of the stage, and what it costs."""
        size = full_pack(self._recipe.model, stage)
        weights = self.engine(stage, ranks).weights
        model = self._model(stage)
        learning = frozenset((part.part, part.lora) for part in stage.train)
        key = (learning, size, stage.objectives, weights)
        if key not in self._measured:
            _write_weights(model, torch.bfloat16 if weights == "bf16" else torch.float32)
            objectives = built_objectives(stage)
            self._measured[key] = measure(
                training_step(
                    self._recipe.model, stage, model, objectives, frozen=stand_ins(stage, model)
                ),
                size,
                len(objectives),
                autocast=self._recipe.engine.precision == "bf16",
            )
        return size, self._measured[key]

    def memory(self, stage: Stage, ranks: int) -> MemoryPlan:
        """The memory of the GPU that needs most, item by item."""
        engine = self.engine(stage, ranks)
        _, work = self.work(stage, ranks)
        buffers = sum(buffer.nbytes for buffer in self._model(stage).buffers())
        moments = (
            _at(engine.items, work.peak_forward - work.kept),
            _at((*engine.items, *engine.backward), work.peak_backward - work.kept),
        )
        always = (
            MemoryItem("pack and tables", work.batch + buffers),
            MemoryItem("kept activations", work.kept),
        )
        worst = max(moments, key=lambda items: sum(item.bytes for item in items))
        items = (*worst[:-1], *always, worst[-1])
        return MemoryPlan(items=items, start=engine.start, host=engine.host)


def stand_ins(stage: Stage, model: VisionLanguageModel) -> dict[str, VisionLanguageModel]:
    """In the place of the models in folders that objectives name: they read the same packs, and a
    plan takes them for as large."""
    named = {one.frozen_model for one in stage.objectives} - {"", ADAPTERS}
    return dict.fromkeys(sorted(named), model)


def _write_weights(model: VisionLanguageModel, dtype: torch.dtype) -> None:
    """Engines that compute on copies cast parameters, and leave buffers as they are."""
    for parameter in model.parameters():
        if parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def _at(held: tuple[MemoryItem, ...], working: int) -> tuple[MemoryItem, ...]:
    return (*held, MemoryItem("working memory", working))


@attrs.frozen
class Share:
    """How the packs of a step fall to the GPUs.

    Attributes:
        packs: of the GPU that has most.
        notes: where some wait for others.
    """

    packs: int
    notes: tuple[str, ...]


def share(lanes: int, packs_per_step: int, gpus: int) -> Share:
    """Lane ``l`` belongs to GPU ``l mod gpus``, and every lane gives as many packs to a step."""
    most = math.ceil(lanes / gpus)
    packs = most * (packs_per_step // lanes)
    if gpus > lanes:
        note = (
            f"{gpus - lanes} of {gpus} GPUs have nothing to do: data.lanes is {lanes}; make "
            f"it, and batch.packs_per_step, a multiple of {gpus}"
        )
        return Share(packs, (note,))
    if lanes % gpus:
        idle = 1 - lanes / (most * gpus)
        note = (
            f"{gpus} GPUs do not divide data.lanes = {lanes}: some have {most} lanes, others "
            f"{most - 1}, and {idle:.0%} of the time is spent waiting"
        )
        return Share(packs, (note,))
    return Share(packs, ())
