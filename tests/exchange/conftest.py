"""A run of a few steps, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import mmcore
from mmcore.cli.main import main
from mmcore.exchange import export_model

RECIPE = """\
name = "little"
[model]
attention = "sdpa"
[model.encoder]
use = "siglip"
image_size = 16
patch_size = 4
width = 32
depth = 1
heads = 2
mlp_width = 48
[model.token_sampler]
use = "perceiver"
queries = 3
depth = 1
heads = 2
head_dim = 8
[model.llm]
use = "phi3"
width = 32
layers = 2
heads = 4
kv_heads = 2
mlp_width = 48
context = 512
init_std = 0.3
[data]
lanes = 1
look_ahead = 4
block_rows = 8
[engine]
use = "torch"
precision = "fp32"
[[stages]]
name = "only"
train = ["encoder", "token_sampler", "llm"]
steps = 2
tiler = { use = "anyres", grids = [[1, 2], [2, 1]] }
objectives = [{ use = "autoregressive" }]
batch = { max_tokens = 256, max_views = 8, packs_per_step = 1 }
optimizer = { use = "adamw", lr = 1e-2 }
[[stages.data]]
use = "llava-json"
path = "data/*.json"
synthetic = { rows = 16, seed = 1 }
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """A folder with the recipe, its data, its run and a picture."""
    home = tmp_path_factory.mktemp("home")
    (home / "little.toml").write_text(RECIPE)
    colours = torch.arange(24 * 40 * 3, dtype=torch.uint8).reshape(24, 40, 3)
    Image.fromarray(colours.numpy()).save(home / "a.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        mmcore.run(mmcore.load_recipe(home / "little.toml"), root=home / "runs")
    return home


@pytest.fixture(scope="session")
def trained(home) -> Path:
    """The run folder."""
    return home / "runs" / "little"


@pytest.fixture(scope="session")
def model_folder(trained, tmp_path_factory) -> Path:
    """The run as a model folder."""
    out = tmp_path_factory.mktemp("own") / "model"
    export_model(trained, out, "mmcore")
    return out


@pytest.fixture
def typed(monkeypatch):
    """``mmcore WORDS``; what it printed."""
    monkeypatch.setenv("COLUMNS", "200")

    def typed(*words: object, fails: bool = False) -> str:
        result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    return typed
