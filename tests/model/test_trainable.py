"""Exactly the named parts learn, and only matrices decay."""

from __future__ import annotations

import pytest

import mmcore
from mmcore.interfaces import PARTS, PatchGrid
from mmcore.model.trainable import describe, parameter_groups, set_trainable
from mmcore_registry import discover


def learning(model) -> set[str]:
    return {name for name, one in model.named_parameters() if one.requires_grad}


def test_exactly_the_named_parts_learn_again_and_again(model):
    everything = {name for name, _ in model.named_parameters()}
    pooling = {name for name in everything if name.startswith("encoder.trunk.attn_pool.")}
    assert pooling
    for parts in ({"llm"}, {"encoder", "token_sampler"}, set(), {"encoder", "llm"}):
        set_trainable(model, parts)
        wanted = {name for name in everything if name.split(".")[0] in parts}
        assert learning(model) == wanted - pooling


def test_groups_hold_every_learning_parameter_once(model):
    set_trainable(model, ("encoder", "token_sampler", "llm"))
    train = [("llm", 1e-4), ("token_sampler", 1e-3), ("encoder", 1e-5)]
    groups = parameter_groups(model, train, 0.1)
    names = [name for group in groups for name in group.names]
    assert len(names) == len(set(names))
    assert set(names) == learning(model)
    assert {(group.part, group.lr) for group in groups} == set(train)
    for group in groups:
        own = dict(model.named_parameters())
        assert all(
            own[name] is one for name, one in zip(group.names, group.parameters, strict=True)
        )


def test_only_matrices_decay(model):
    set_trainable(model, ("encoder", "token_sampler", "llm"))
    groups = parameter_groups(model, [(p, 1.0) for p in ("encoder", "token_sampler", "llm")], 0.1)
    decays = {name: group.weight_decay for group in groups for name in group.names}
    for name in (
        "encoder.trunk.patch_embed.proj.weight",
        "encoder.trunk.blocks.0.attn.qkv.weight",
        "token_sampler.layers.0.0.to_kv.weight",
        "token_sampler.layers.1.1.3.weight",
        "token_sampler.projection.weight",
        "llm.model.layers.0.mlp.down_proj.weight",
        "llm.lm_head.weight",
    ):
        assert decays[name] == 0.1, name
    for name in (
        "encoder.trunk.pos_embed",
        "encoder.trunk.blocks.0.attn.qkv.bias",
        "encoder.trunk.norm.weight",
        "token_sampler.latents",
        "token_sampler.layers.0.1.0.weight",
        "token_sampler.projection.bias",
        "llm.model.embed_tokens.weight",
        "llm.model.norm.weight",
    ):
        assert decays[name] == 0.0, name


def test_a_component_says_what_its_own_names_do_not(model):
    """Its names come without the part's; what it leaves to the rule follows the rule."""
    said = {"latents": True, "projection.weight": False}
    set_trainable(model, ("token_sampler", "llm"))
    train = [("token_sampler", 1.0), ("llm", 1.0)]
    groups = parameter_groups(model, train, 0.1, {"token_sampler": said.get})
    plain = parameter_groups(model, train, 0.1)
    found, rule = (
        {name: group.weight_decay for group in each for name in group.names}
        for each in (groups, plain)
    )
    changed = {name: decay for name, decay in found.items() if decay != rule[name]}
    assert changed == {"token_sampler.latents": 0.1, "token_sampler.projection.weight": 0.0}


WITHOUT = ("norm", "bias", "embed_tokens", "_embeddings", "pos_embed", "latents", "query_tokens")
"""Words in the names of what never decays, whoever made the module."""


@pytest.mark.parametrize(
    ("part", "component"),
    [(part, name) for part in PARTS for name in discover().names(part)],
)
def test_no_component_decays_norms_biases_embeddings_or_latents(model, part, component):
    spec = mmcore.spec(part, component).tiny()
    sizes = {"dim_in": 32, "dim_out": 64, "grid": PatchGrid(4, 4)}
    built = spec.build(attention="sdpa", **(sizes if part == "token_sampler" else {}))
    setattr(model, part, built)
    set_trainable(model, [part])
    groups = parameter_groups(model, [(part, 1.0)], 0.1, {part: spec.decays})
    for group in groups:
        for name, parameter in zip(group.names, group.parameters, strict=True):
            words = name.split(".")[-2:]
            exempt = parameter.ndim < 2 or any(one in word for one in WITHOUT for word in words)
            assert (group.weight_decay == 0) is exempt, name


def test_parts_that_are_not_there_or_do_not_learn_are_refused(model):
    with pytest.raises(ValueError, match="no part 'lm'; its parts are encoder, token_sampler, llm"):
        set_trainable(model, ["lm"])
    set_trainable(model, ["llm"])
    with pytest.raises(ValueError, match="token_sampler is to be trained, but none"):
        parameter_groups(model, [("llm", 1.0), ("token_sampler", 1.0)], 0.0)


def test_parts_are_described_with_their_sizes(model):
    set_trainable(model, ["token_sampler"])
    sizes = describe(model)
    assert [one.part for one in sizes] == ["encoder", "token_sampler", "llm"]
    assert sum(one.parameters for one in sizes) == sum(p.numel() for p in model.parameters())
    assert [one.trainable for one in sizes] == [0, sizes[1].parameters, 0]
