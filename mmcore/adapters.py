"""Whether a model has the layers that a recipe names for adapters, before it has any weights."""

from __future__ import annotations

import torch

from mmcore.assemble import empty_model, loras_of
from mmcore.model.lora import LoraError
from mmcore.recipe import Recipe


def check_adapters(recipe: Recipe) -> None:
    """Only a module knows its layers, so it is built on the meta device, where any stage has
    adapters.

    Raises:
        LoraError: names every target that is no layer's, and every part without layers that could
            have adapters, with its stage.
    """
    wanted = [
        (stage, part, lora) for stage in recipe.stages for part, lora in loras_of(stage).items()
    ]
    if not wanted:
        return
    model = empty_model(recipe.model, recipe.seed, torch.device("meta"))
    faults = []
    for stage, part, lora in wanted:
        try:
            model.layers_for(part, lora)
        except LoraError as error:
            faults.append(f"stages.{stage.name}.train: {error}")
    if faults:
        raise LoraError("\n".join(faults))
