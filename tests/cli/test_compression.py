"""`mmcore show` and `mmcore check` say what becomes of a tile."""

from __future__ import annotations

import re

import attrs
import click
import pytest

from mmcore.cli.compression import tiles_of_encoders, tokens_and_ratio
from mmcore.cli.describe import describe_component
from mmcore.interfaces import PatchGrid, TokenSamplerSpec
from mmcore_registry import Component, discover, doc
from mmcore_samplers.spec import MLPSpec, PerceiverSpec


def shown(sampler):
    spec = discover().get("token_sampler", sampler)
    [found] = [one for one in discover().components("token_sampler") if one.spec is spec]
    return " ".join(click.unstyle(describe_component(found)).split())


@pytest.mark.parametrize(
    ("sampler", "tile", "small"),
    [
        ("perceiver", "128 tokens per view of 27 x 27 patches, 5.7 to 1", "1.53 to 1"),
        ("mlp", "729 tokens per view of 27 x 27 patches, 1 to 1", "196 tokens per view"),
        ("pixel-shuffle", "refused: factor is 2, wanted a divisor of both", "49 tokens per view"),
        ("c-abstractor", "144 tokens per view of 27 x 27 patches, 5.06 to 1", "1.36 to 1"),
        ("qformer", "32 tokens per view of 27 x 27 patches, 22.8 to 1", "6.12 to 1"),
    ],
)
def test_show_says_tokens_of_a_tile_and_compression(sampler, tile, small):
    text = shown(sampler)
    assert f"tiles, with the defaults above siglip so400m-patch14-384 {tile}" in text
    assert small in text.partition("siglip base-patch16-224")[2]


def test_every_sampler_of_ours_says_something_of_every_encoder():
    ours = [one for one in discover().components("token_sampler") if one.distribution == "mmcore"]
    for component in ours:
        for name, words in tiles_of_encoders(component.spec()):
            said = re.search(r"tokens per view of .*to 1$|^refused: ", words)
            assert said, (component.name, name, words)


def test_the_ratio_is_patches_to_a_token():
    grid = PatchGrid(27, 27)
    assert PerceiverSpec(queries=128).compression(grid) == pytest.approx(729 / 128)
    assert tokens_and_ratio(MLPSpec(pool=3), grid).startswith("81 tokens per view")
    assert tokens_and_ratio(MLPSpec(pool=3), grid).endswith("9 to 1")


def test_a_sampler_that_wants_a_key_has_no_tiles_of_its_own():
    @attrs.frozen(kw_only=True)
    class Demanding(TokenSamplerSpec):
        """Cannot be made without a number."""

        name = "demanding"
        tokens: int = attrs.field(metadata=doc("how many"))

    component = Component(Demanding, "stranger", "stranger")
    assert "tiles" not in describe_component(component)
