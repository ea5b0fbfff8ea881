"""Statistics are those of the packs that training gets."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmcore import assemble
from mmcore.data.faults import DataFault
from mmcore.inspection.plots import plot
from mmcore.inspection.stats import QUANTITIES, deciles, histogram, stats
from mmcore.interfaces import World


@pytest.fixture
def stages(captions, png):
    mixed = captions("a", [(f"cat {n} " * (n + 1), png()) for n in range(12)])
    plain = captions("b", [(f"dog {n}", png(32, 32)) for n in range(12)])
    return {"one": [("cc3m", mixed, "share = 3"), ("sbu", plain, "share = 1")]}


def test_they_are_counted_from_the_packs_of_training(look, stages):
    """Against what the loader gives, whose batches are counted here on their own."""
    found = look(stages)
    [counted] = stats(found, 40)
    data = found.stages[0]
    loader = assemble.pack_loader(found.recipe, data.stage, data.preparer, World())
    batches = []
    while len(batches) < len(counted.token_fills):
        batches += loader.next_step().batches
    loader.close()
    batches = batches[: len(counted.token_fills)]
    segments = [segment for batch in batches for segment in batch.segments]
    for one in counted.sources:
        mine = [segment for segment in segments if segment.source == one.label]
        assert Counter(one.tokens) == Counter(s.stop - s.start for s in mine)
        assert Counter(one.views) == Counter(s.views for s in mine)
        assert sum(n * part for n, part in zip(one.tokens, one.learned, strict=True)) == (
            pytest.approx(sum(s.labels for s in mine))
        )
    assert list(counted.token_fills) == [batch.tokens / 128 for batch in batches]
    assert list(counted.view_fills) == [batch.views / 16 for batch in batches]
    assert counted.samples == len(segments) >= 40


def test_shares_are_those_of_the_recipe(look, stages):
    [counted] = stats(look(stages), 200)
    assert [one.wanted for one in counted.shares] == [0.75, 0.25]
    assert [one.drawn for one in counted.shares] == pytest.approx([0.75, 0.25], abs=0.02)
    assert sum(one.tokens for one in counted.shares) == pytest.approx(1)


def test_a_plot_and_plain_values_of_every_stage(look, stages, tmp_path):
    [counted] = stats(look(stages), 40)
    plot(counted, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        image.load()
        assert image.width > 1000
        assert len(image.convert("RGB").resize((50, 50)).getcolors(2500)) > 10  # not blank
    plain = json.loads(json.dumps(counted.to_json()))
    [first, second] = plain["sources"]
    assert first["label"] == "cc3m"
    assert all(len(first[name]) == 11 for name in QUANTITIES)
    assert second["pictures"] == [1] * 11
    assert plain["samples"] == first["samples"] + second["samples"]


def test_a_source_without_a_sample_among_so_few_is_no_fault(look, captions, png, tmp_path):
    path = captions("rows", [(f"cat {n}", png()) for n in range(4)])
    [counted] = stats(look({"one": [("cc3m", path), ("sbu", path, "share = 1e-4")]}), 8)
    assert counted.sources[1].samples == 0
    plot(counted, tmp_path / "one.png")
    assert counted.to_json()["sources"][1]["tokens"] == []


def test_a_missing_source_is_named(look, tmp_path):
    with pytest.raises(DataFault, match=r"source 'cc3m'.*no file matches"):
        stats(look({"one": [("cc3m", f"{tmp_path}/gone/*.parquet")]}), 8)


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 20))
def test_every_value_is_in_one_bin(values, bins):
    assert sum(histogram(values, max(values), bins)) == len(values)


@given(st.lists(st.integers(0, 100), min_size=1))
def test_deciles_go_from_least_to_most(values):
    found = deciles(values)
    assert (found[0], found[-1]) == (min(values), max(values))
    assert found == sorted(found)
    assert set(found) <= set(values)
