"""The mini recipe, and sweeps of it, in an empty folder."""

import shutil
from pathlib import Path

import pytest

from mmcore.sweeps.load import load_sweep
from mmcore.sweeps.recipes import load_cells

MINI = Path(__file__).parents[1] / "end_to_end" / "mini.toml"

HEAD = """\
format = 1
name = "samplers"
recipe = "mini.toml"
seeds = [1, 2]
"""

QUERIES = """
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(text)`` -> the file of a sweep, beside the mini recipe; the head is added."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(MINI, tmp_path / "mini.toml")

    def written(text=QUERIES, head=HEAD):
        path = Path("sweep.toml")
        path.write_text(head + text)
        return path

    return written


@pytest.fixture
def cells(write):
    """``cells(text, *overrides)`` -> the file and its cells."""

    def made(text=QUERIES, *overrides, head=HEAD, **options):
        file = load_sweep(write(text, head), overrides, **options)
        return file, load_cells(file)

    return made
