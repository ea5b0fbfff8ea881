"""A small recipe over hand-written rows, good and bad, and the look at it."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.inspection.stages import looked_at
from mmcore.recipe import load_recipe

RECIPE = """\
name = "looked-at"
[model.encoder]
use = "siglip"
image_size = 32
patch_size = 8
width = 32
depth = 1
heads = 2
mlp_width = 64
[model.token_sampler]
use = "perceiver"
queries = 4
[model.llm]
use = "phi3"
width = 32
layers = 1
heads = 2
kv_heads = 2
mlp_width = 64
[data]
lanes = 2
look_ahead = 8
[engine]
use = "torch"
"""

STAGE = """
[[stages]]
name = "{name}"
train = ["token_sampler"]
steps = 10
tiler = {{ use = "anyres" }}
objectives = [{{ use = "autoregressive" }}]
batch = {{ max_tokens = 128, max_views = 16, packs_per_step = 2 }}
optimizer = {{ use = "adamw", lr = 1e-3 }}
"""


def picture(width=64, height=40, colour="red"):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def png():
    return picture


@pytest.fixture
def captions(tmp_path):
    """``captions("good", [("a cat", bytes), ...])`` writes one parquet file of caption pairs, and
    returns its pattern."""

    def write(name, rows, shards=1):
        (tmp_path / name).mkdir()
        for shard in range(shards):
            mine = rows[shard::shards]
            table = pa.table(
                {
                    "caption": pa.array([text for text, _ in mine], pa.string()),
                    "image_bytes": pa.array([data for _, data in mine], pa.binary()),
                }
            )
            pq.write_table(table, tmp_path / name / f"{shard:03}.parquet")
        return f"{tmp_path / name}/*.parquet"

    return write


@pytest.fixture
def recipe(tmp_path):
    """``recipe({"stage": [("cc3m", path, 'share = 2'), ...]})`` -> a checked recipe."""

    def make(stages, overrides=()):
        text = RECIPE
        for name, sources in stages.items():
            text += STAGE.format(name=name)
            for use, path, *keys in sources:
                keys = "\n".join(keys)
                text += f'[[stages.data]]\nuse = "{use}"\npath = "{path}"\n{keys}\n'
        (tmp_path / "looked-at.toml").write_text(text)
        return load_recipe(tmp_path / "looked-at.toml", overrides)

    return make


@pytest.fixture
def look(recipe):
    """``look({"stage": [...]})`` -> what the functions of the room are given."""

    def make(stages, overrides=(), **wishes):
        with looked_at(recipe(stages, overrides), **wishes) as found:
            return found

    return make
