"""Takes real steps on full packs and prints the most bytes that torch's allocator had given out.

A program, since an allocator and DeepSpeed remember what a process did before. Arguments: a
recipe, the number of a stage, how many packs make a step, and overrides of the recipe's keys.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import attrs
import torch
from torch.profiler import ProfilerActivity, profile

from mmcore import load_recipe
from mmcore.assemble import initial_model, started
from mmcore.interfaces import PackedBatch, World
from mmcore.kit import torch_attention
from mmcore.planning.pack import PackSize, batch_on_meta, full_pack
from mmcore.recipe import Recipe, Stage

torch_attention.MOST_SCORES = 0  # the plan is of fused kernels: they keep no scores

STEPS = 2
"""The first makes what later ones find: moments, buffers, tables."""


def filled(size: PackSize, vocabulary: int) -> PackedBatch:
    """The full pack with drawn values: every sample begins with its views."""
    bare = batch_on_meta(size)
    starts = [sum(bare.lengths[:number]) for number in range(len(bare.lengths))]
    ends = {start + length - 1 for start, length in zip(starts, bare.lengths, strict=True)}
    labelled = [place for place in range(size.tokens) if place not in ends]
    views = bare.image_token_index_K.shape[0]
    return attrs.evolve(
        bare,
        input_ids_T=torch.randint(vocabulary, (size.tokens,)),
        position_ids_T=torch.cat([torch.arange(length) for length in bare.lengths]),
        cu_seqlens=torch.tensor([*starts, size.tokens], dtype=torch.int32),
        label_index_L=torch.tensor(labelled),
        targets_L=torch.randint(vocabulary, (len(labelled),)),
        label_weight_L=torch.ones(len(labelled)),
        pixels_NCHW=torch.randint(256, bare.pixels_NCHW.shape, dtype=torch.uint8),
        patch_mask_NP=torch.ones(bare.patch_mask_NP.shape, dtype=torch.bool),
        image_token_index_K=torch.tensor(labelled)[:views],
        label_segment_L=torch.zeros(len(labelled), dtype=torch.int32),
    )


def train(recipe: Recipe, stage: Stage, packs: int) -> None:
    """Build model and engine, and take the steps."""
    initial = initial_model(recipe.model, recipe.seed, torch.device("cpu"), loaded=False)
    engine = started(recipe, stage, initial, World(device="cpu")).engine
    size = full_pack(recipe.model, stage)
    batch = filled(size, 100)
    divisor = [float(size.tokens)] * len(stage.objectives)
    for _ in range(STEPS):
        for _ in range(packs):
            gc.collect()  # else what DeepSpeed leaves in cycles is there or not by chance
            engine.backward(batch, divisor)
        engine.step(1.0)
    engine.close()


def peak(profiled: profile) -> int:
    """Most bytes at any time, from the allocator's own account of what it gave and took back."""
    events = profiled.profiler.kineto_results.events()
    changes = [(one.start_ns(), one.nbytes()) for one in events if one.name() == "[memory]"]
    live = most = 0
    for _, change in sorted(changes, key=lambda one: one[0]):
        live += change
        most = max(most, live)
    return most


def main(path: str, number: str, packs: str, *overrides: str) -> None:
    recipe = load_recipe(Path(path), overrides)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        train(recipe, recipe.stages[int(number)], int(packs))
        gc.collect()
    print(json.dumps({"peak": peak(profiled)}))


main(*sys.argv[1:])
