"""A stage of puzzles with a small encoder, and what makes its features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import mmcore
from mmcore import assemble
from mmcore.caching.build import Encoding, Tally, cache_source
from mmcore.caching.expected import expected
from mmcore.caching.fingerprint import encoder_fingerprint
from mmcore.caching.writer import FeatureWriter, begun
from mmcore.recipe import labels

RECIPE = """
format = 1
name = "cached"
seed = 5

[model]
attention = "sdpa"

[model.encoder]
use = "siglip"
image_size = 32
patch_size = 8
width = 32
depth = 1
heads = 2
mlp_width = 64
positions = "sincos"

[model.token_sampler]
use = "mlp"

[model.llm]
use = "phi3"
width = 32
layers = 1
heads = 2
kv_heads = 2
mlp_width = 64
context = 512

[data]
lanes = 3
look_ahead = 8
block_rows = 8

[[stages]]
name = "only"
train = ["token_sampler", "llm"]
steps = 2
tiler = { use = "anyres" }
objectives = [{ use = "autoregressive" }]
batch = { max_tokens = 256, max_views = 12, packs_per_step = 3 }
optimizer = { use = "adamw", lr = 1e-3 }

[[stages.data]]
use = "puzzles"
kinds = ["colour", "compare"]
side = 48
shape_px = [12]
others = [0]
features = "features"
synthetic = { rows = 30, seed = 1 }

[engine]
use = "torch"
precision = "fp32"
"""


@attrs.define
class Site:
    """The stage, in a folder of its own."""

    folder: Path

    def recipe(self, *overrides: str) -> Any:
        path = self.folder / "cached.toml"
        path.write_text(RECIPE)
        return mmcore.load_recipe(path, list(overrides))

    def encoding(self, recipe: Any, stored: str = "fp32", views: int = 5) -> Encoding:
        initial = assemble.initial_model(recipe.model, recipe.seed, torch.device("cpu"))
        weights = encoder_fingerprint(initial)
        encoder = initial.filled_part("encoder", torch.device("cpu")).eval()
        header = expected(recipe, recipe.stages[0], weights, stored)
        return Encoding(encoder, torch.device("cpu"), header, views)

    def cache(self, recipe: Any, encoding: Encoding | None = None, **writing: Any) -> Tally:
        """Make the features of the stage's only source."""
        made_by = encoding or self.encoding(recipe)
        (stage,) = recipe.stages
        ((label, spec),) = labels(stage)
        prepared = assemble.preparer(recipe.model, stage, recipe.model.llm.text())
        folder = Path(spec.features)
        with (
            begun(folder, made_by.header),
            FeatureWriter(folder, made_by.header, **writing) as writer,
        ):
            return cache_source(label, spec, prepared, made_by, writer)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # other thread counts give other last digits
    yield Site(tmp_path)
    torch.set_num_threads(threads)
