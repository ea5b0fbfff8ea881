"""Model FLOPs against hand-made counts, and against a pack of another size measured directly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import attrs
import pytest
import torch

from mmcore.assemble import empty_model, training_step
from mmcore.interfaces import SampleKey, Segment
from mmcore.planning import model_flops
from mmcore.planning.gpus import gpu_of_device
from mmcore.planning.model_flops import pack_flops
from mmcore.planning.pack import full_pack
from mmcore.recipe import load_recipe

MINI = Path(__file__).parents[1] / "end_to_end" / "mini.toml"
WIDTH, MLP, HEADS = 32, 64, 2
LINEAR = WIDTH * 3 * WIDTH + WIDTH * WIDTH + 3 * WIDTH * MLP
"""Weights of the one layer of mini's LLM that every token is multiplied with."""


VOCABULARY = 768
PATCHES, QUERIES, FEED_FORWARD = 16, 4, 4
ENCODER = (
    2 * PATCHES * 3 * 8 * 8 * WIDTH  # patches of 8 pixels
    + 2 * PATCHES * (4 * WIDTH * WIDTH + 2 * WIDTH * MLP)
    + 2 * 2 * PATCHES * PATCHES * WIDTH  # attention
)
"""FLOPs of a view's way through mini's encoder, forward."""
SAMPLER = (
    2 * QUERIES * WIDTH * WIDTH  # queries
    + 2 * (PATCHES + QUERIES) * WIDTH * 2 * WIDTH  # keys and values, of patches and queries
    + 2 * 2 * QUERIES * (PATCHES + QUERIES) * WIDTH  # attention
    + 2 * QUERIES * WIDTH * WIDTH  # back to the width
    + 2 * QUERIES * 2 * WIDTH * FEED_FORWARD * WIDTH
    + 2 * QUERIES * WIDTH * WIDTH  # to the LLM's width
)
"""The same through its token sampler."""


def stage(*parts: str, changes: tuple[str, ...] = ()):
    trained = "[" + ", ".join(f'"{one}"' if one[0] != "{" else one for one in parts) + "]"
    recipe = load_recipe(MINI, [f"stages.captions.train={trained}", *changes])
    return recipe, recipe.stages[0]


def test_a_token_costs_six_times_the_weights_it_meets() -> None:
    found = pack_flops(*stage("encoder", "token_sampler", "llm"))
    assert found.token == pytest.approx(6 * LINEAR)
    # Queries and keys, weights and values: two products of a head's width each, and back twice.
    assert found.pair == pytest.approx(3 * 2 * 2 * WIDTH)


def test_a_frozen_llm_is_gone_through_backward_but_has_no_gradients_of_its_own() -> None:
    found = pack_flops(*stage("token_sampler"))
    assert found.token == pytest.approx(4 * LINEAR)
    assert found.pair == pytest.approx(3 * 2 * 2 * WIDTH)


def test_a_frozen_encoder_is_forward_only() -> None:
    learns = pack_flops(*stage("encoder", "token_sampler", "llm"))
    frozen = pack_flops(*stage("token_sampler", "llm"))
    patches, side = 16, 8
    body = 2 * patches * (4 * WIDTH * WIDTH + 2 * WIDTH * 64)  # one layer, forward
    attention = 2 * 2 * patches * patches * WIDTH
    stem = 2 * patches * 3 * side * side * WIDTH
    # Learning adds two more of each, but for the gradient of the pixels.
    assert learns.view - frozen.view == pytest.approx(2 * (body + attention) + stem)
    assert learns.token == frozen.token


def test_a_label_costs_the_head_and_its_logits_are_counted_once() -> None:
    # Logits are computed again in the backward pass; that is no work of the model.
    head = VOCABULARY * WIDTH
    assert pack_flops(*stage("llm")).label == pytest.approx(6 * head)
    assert pack_flops(*stage("token_sampler")).label == pytest.approx(4 * head)


def test_a_view_costs_forward_only_where_nothing_before_the_llm_learns() -> None:
    assert pack_flops(*stage("llm")).view == pytest.approx(ENCODER + SAMPLER)
    assert pack_flops(*stage("token_sampler")).view == pytest.approx(ENCODER + 3 * SAMPLER)


RANK = 4
LAYERS = ((WIDTH, 3 * WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * MLP), (MLP, WIDTH))
"""Inputs and outputs of the layers that get an adapter: queries with keys and values, back to the
width, gate with up, down."""
ADAPTED = '{part = "llm", lora = {rank = 4}}'


def test_adapted_weights_have_no_gradients_of_their_own() -> None:
    adapters = RANK * sum(inputs + outputs for inputs, outputs in LAYERS)
    # Base: forward and back to its input. Adapters: forward, back, and their own gradients.
    through = 4 * LINEAR + 6 * adapters
    found = pack_flops(*stage("token_sampler", ADAPTED))
    assert found.token == pytest.approx(through)
    assert found.label == pytest.approx(4 * VOCABULARY * WIDTH)
    assert found.pair == pytest.approx(3 * 2 * 2 * WIDTH)
    # Nothing before the first layer learns: its input needs no gradient.
    first = 2 * WIDTH * 3 * WIDTH + 2 * RANK * WIDTH
    alone = pack_flops(*stage(ADAPTED))
    assert alone.token == pytest.approx(through - first)
    assert alone.view == pytest.approx(ENCODER + SAMPLER)


def test_what_is_computed_again_to_save_memory_does_not_count() -> None:
    parts = ("encoder", "token_sampler", "llm")
    again = tuple(f"model.{part}.recompute=true" for part in parts)
    assert pack_flops(*stage(*parts, changes=again)) == pack_flops(*stage(*parts))


@pytest.mark.parametrize("lengths", [(97,), (64, 24, 9), (1, 96)])
def test_any_pack_is_foretold(lengths) -> None:
    recipe, one = stage("token_sampler", "llm")
    objectives = [spec.build() for spec in one.objectives]
    step = training_step(
        recipe.model, one, empty_model(recipe.model, 0, torch.device("meta")), objectives
    )
    size = attrs.evolve(
        full_pack(recipe.model, one), tokens=sum(lengths), views=3, groups=3, samples=len(lengths)
    )
    batch = model_flops._pack(size, 50)
    borders = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    segments = tuple(
        Segment(SampleKey("a", "s", n), "a", start, stop, 3 * (n == 0), 50 * (n == 0))
        for n, (start, stop) in enumerate(pairwise(borders))
    )
    batch = attrs.evolve(batch, lengths=lengths, segments=segments)
    direct = model_flops._work(step, batch, 1)
    assert pack_flops(recipe, one)(batch) == pytest.approx(direct, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "gigabytes", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 85.0, "h100-80g"),
        ("NVIDIA H100 PCIe", 85.0, "h100-pcie-80g"),
        ("NVIDIA H200", 150.0, "h200-141g"),
        ("NVIDIA A100-SXM4-40GB", 42.5, "a100-40g"),
        ("NVIDIA A100-SXM4-80GB", 85.1, "a100-80g"),
        ("NVIDIA A100-PCIE-40GB", 42.3, "a100-40g"),
        ("NVIDIA GeForce RTX 4090", 25.4, "rtx4090-24g"),
        ("NVIDIA RTX A6000", 51.0, "a6000-48g"),
        ("NVIDIA L40S", 47.7, "l40s-48g"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10.0, None),
        ("Tesla T4", 15.0, None),
    ],
)
def test_a_drivers_name_is_recognised(name, gigabytes, expected) -> None:
    found = gpu_of_device(name, gigabytes * 1e9)
    assert (found.name if found else None) == expected
