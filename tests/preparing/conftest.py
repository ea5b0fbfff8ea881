"""A recipe with a few pairs, some of which are of no use, and a model to be asked about them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import mmcore
from mmcore.preparing import stage_of, work_of
from mmcore.recipe import Recipe, load_recipe
from mmcore.run_folder.folder import RECIPE

TEXT = """
format = 1
name = "pairs"
seed = 3
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
use = "perceiver"
queries = 4
depth = 1
heads = 2
head_dim = 16
[model.llm]
use = "phi3"
width = 32
layers = 1
heads = 2
kv_heads = 2
mlp_width = 64
context = 512
[data]
lanes = 2
look_ahead = 4
max_rejected_share = 1.0
[[stages]]
name = "dpo"
train = [{ part = "llm", lora = { rank = 4 } }]
steps = 2
tiler = { use = "anyres", max_tiles = 4 }
objectives = [{ use = "dpo" }]
batch = { max_tokens = 256, max_views = 12, packs_per_step = 2 }
optimizer = { use = "adamw", lr = 1e-2 }
[[stages.data]]
use = "preference-pairs"
path = "data/*.jsonl"
[engine]
use = "torch"
precision = "fp32"
[checkpoints]
every_steps = 1
"""


def row(number: int, **changes: object) -> dict[str, object]:
    return {
        "prompt": f"<image>\nWhat is on picture {number}?",
        "chosen": f"A square, number {number}.",
        "rejected": "Nothing" + "!" * number,
        "images": [f"{number % 3}.png"],
        **changes,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pairs.toml``, and its data."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").mkdir()
    for number in range(3):
        colour = (80 * number, 120, 255 - 90 * number)
        Image.new("RGB", (40 + 30 * number, 50), colour).save(folder / "data" / f"{number}.png")
    rows = [row(number) for number in range(7)]
    bad = [
        row(7, rejected=row(7)["chosen"]),
        row(8, images=["nowhere.png"]),
        {name: value for name, value in row(9).items() if name != "rejected"},
    ]
    for name, some in {"a": rows[:5] + bad, "b": rows[5:]}.items():
        lines = "".join(json.dumps(one) + "\n" for one in some)
        (folder / "data" / f"{name}.jsonl").write_text(lines)
    (folder / "pairs.toml").write_text(TEXT)
    return folder


@pytest.fixture
def recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(place)
    return load_recipe("pairs.toml")


@pytest.fixture
def model(recipe: Recipe, place: Path) -> Path:
    """A finished run."""
    if not (place / "runs" / "pairs" / RECIPE).exists():
        mmcore.run(recipe)
    return place / "runs" / "pairs"


@pytest.fixture
def work(recipe: Recipe):
    return work_of(recipe, stage_of(recipe, None), rows_per_file=3)
