"""Run a verb in this process, and recipes of the installed plugins."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mmcore.cli.main import main

RECIPE = """\
name = "small"
[model.encoder]
use = "siglip"
[model.token_sampler]
use = "perceiver"
queries = 8
[model.llm]
use = "phi3"
[data]
lanes = 2
[engine]
use = "torch"
[[stages]]
name = "only"
train = ["token_sampler"]
steps = 1000
tiler = { use = "anyres" }
objectives = [{ use = "autoregressive" }]
batch = { max_tokens = 1024, max_views = 16, packs_per_step = 4 }
optimizer = { use = "adamw", lr = 1e-3 }
[[stages.data]]
use = "llava-json"
path = "data/*.json"
synthetic = { rows = 8 }
"""


@pytest.fixture
def mmcore():
    """Run ``mmcore WORDS``; the result has ``exit_code``, ``stdout``, ``stderr``."""
    return lambda *words: CliRunner().invoke(main, list(words), catch_exceptions=False)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Write a recipe into the current directory, with (old, new) replacements."""
    monkeypatch.chdir(tmp_path)

    def recipe(*changes):
        text = RECIPE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        Path("small.toml").write_text(text)
        return "small.toml"

    return recipe
