"""Parameter counts of the published models, and work against a count by hand."""

import pytest

from mmcore import load_recipe
from mmcore.planning.gpus import gpu_named
from mmcore.planning.planner import plan

RECIPE = """
name = "big"
[model.encoder]
use = "siglip"
[model.token_sampler]
use = "perceiver"
[model.llm]
use = "phi3"
variant = "{variant}"
weights = "/nowhere"
recompute = true
[engine]
use = "deepspeed"
zero = 3
[[stages]]
name = "only"
train = ["token_sampler", "llm"]
tokens = 1e9
tiler = {{ use = "single" }}
objectives = [{{ use = "autoregressive" }}]
batch = {{ max_tokens = 4096, max_views = 16, packs_per_step = 64 }}
optimizer = {{ use = "adamw", lr = 1e-4 }}
[[stages.data]]
use = "llava-json"
path = "nowhere/*.json"
"""


@pytest.mark.parametrize(
    ("variant", "sizes"),
    [
        ("mini-4k-instruct", [428_225_600, 109_901_568, 3_821_079_552]),
        ("medium-4k-instruct", [428_225_600, 112_262_912, 13_960_238_080]),
    ],
)
def test_parameters_are_the_published_ones(tmp_path, variant, sizes):
    (tmp_path / "big.toml").write_text(RECIPE.format(variant=variant))
    found = plan(load_recipe(tmp_path / "big.toml"), gpus=64, gpu="h100-80g")
    [stage] = found.stages
    assert [part.parameters for part in stage.parts] == sizes
    assert [part.trainable for part in stage.parts] == [0, *sizes[1:]]
    assert stage.steps == 3815  # 1e9 / (64 * 4096), rounded up
    least = 2 * (sizes[2] - 2 * 32064 * 3072) * 4096 * 64  # two operations a weight and token
    assert least < stage.flops.forward < 1.5 * least


def test_an_unknown_gpu_is_told_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'h100-80g'"):
        gpu_named("h100-80gb")


def test_an_encoder_that_learns_keeps_less_where_it_is_recomputed(tmp_path):
    """Under autocast, what is recomputed has the number formats that it had before."""
    text = RECIPE.format(variant="mini-4k-instruct").replace(
        '["token_sampler", "llm"]', '["encoder", "token_sampler", "llm"]'
    )
    kept, repeated = [], []
    for keys in ("", "\nrecompute = true"):
        (tmp_path / "big.toml").write_text(text.replace('"siglip"', f'"siglip"{keys}'))
        [stage] = plan(load_recipe(tmp_path / "big.toml"), gpus=64, gpu="h100-80g").stages
        kept.append(stage.memory.step)
        repeated.append(stage.flops.recompute)
    assert kept[1] < kept[0] - 5e9
    assert repeated[1] > repeated[0]


def test_a_picture_that_is_sampled_as_a_whole_takes_the_tokens_of_a_view(tmp_path):
    text = RECIPE.format(variant="mini-4k-instruct")
    whole = text.replace('use = "single"', 'use = "anyres", max_tiles = 4, merge = "picture"')
    (tmp_path / "big.toml").write_text(whole)
    [stage] = plan(load_recipe(tmp_path / "big.toml"), gpus=64, gpu="h100-80g").stages
    assert (stage.tokens.views_per_picture, stage.tokens.per_picture) == (5, 128)
    assert stage.tokens.views_of_pack == 16  # three pictures of five views, and a small one
