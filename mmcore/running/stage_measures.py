"""What a stage's measures need to know before it starts: rates, FLOPs of packs, and the peak."""

from __future__ import annotations

import torch

from mmcore.planning.gpus import gpu_of_device
from mmcore.planning.model_flops import pack_flops
from mmcore.recipe import Recipe, Stage, labels
from mmcore.training.measures import Measured


def measured(recipe: Recipe, stage: Stage, device: torch.device) -> Measured:
    """For the measures of a stage. Where no peak is known, as on a CPU, FLOPs are not counted."""
    peak = recipe.measures.peak_flops or _peak(recipe, device)
    return Measured(
        sources=[label for label, _ in labels(stage)],
        rates={part.part: part.lr or stage.optimizer.lr for part in stage.train},
        flops=None if peak is None else pack_flops(recipe, stage),
        peak=peak,
    )


def _peak(recipe: Recipe, device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    gpu = gpu_of_device(properties.name, properties.total_memory)
    if gpu is None:
        return None
    return gpu.bf16 if recipe.engine.precision == "bf16" else gpu.fp32
