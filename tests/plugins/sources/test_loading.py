"""Mixed in one stage, these sources go on where they stopped, also on other ranks and workers."""

import json

import pytest

from mmcore.data.loader import PackLoader
from mmcore.data.prepare import Preparer
from mmcore.interfaces import SyntheticContent, ViewFormat
from mmcore_phi3.spec import Phi3Spec
from mmcore_sources.folder_spec import CaptionedFolderSpec
from mmcore_sources.hf_spec import HfSpec
from mmcore_sources.parquet_spec import ParquetSpec
from mmcore_sources.webdataset_spec import WebdatasetSpec
from mmcore_tiling.spec import SingleTilerSpec

SPECS = {
    "hf": HfSpec(path="x", conversations_column="conversations"),
    "hf#2": HfSpec(path="x", streaming=True),
    "parquet": ParquetSpec(path="x", question_column="q", answer_column="a"),
    "webdataset": WebdatasetSpec(path="x"),
    "captioned-folder": CaptionedFolderSpec(path="x"),
}
STEPS = 8


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    made = []
    for label, spec in SPECS.items():
        folder = tmp_path_factory.mktemp("made-up") / label.replace("#", "-")
        spec.synthesize(folder, SyntheticContent(rows=60, seed=3))
        # A rejected row is part of what must go on alike.
        if label == "captioned-folder":
            for caption in sorted(folder.rglob("*.txt"))[::9]:
                caption.unlink()
        made.append((label, spec.relocated(folder)))
    return made


@pytest.fixture(scope="module")
def load(sources):
    """Makes loaders of two lanes and four packs a step."""
    preparer = Preparer(
        text=Phi3Spec().tiny().text(),
        tiler=SingleTilerSpec(),
        view=ViewFormat(size=32, patch_rows=2, patch_cols=2, patch_size=16),
        tokens_per_view=2,
        max_tokens=160,
        max_views=8,
    )
    settings = {"seed": 1, "lanes": 2, "packs_per_step": 4, "look_ahead": 8, "block_rows": 8}
    return lambda **more: PackLoader(sources=sources, preparer=preparer, **settings, **more)


def keys_of(loader, steps):
    """For every step, the sorted keys of its samples, and the rows that were rejected."""
    taken = [loader.next_step() for _ in range(steps)]
    loader.close()
    keys = [[str(s.key) for batch in step.batches for s in batch.segments] for step in taken]
    return keys, sorted(str(row.key) for step in taken for row in step.rejected)


@pytest.fixture(scope="module")
def whole(load):
    return keys_of(load(), STEPS)


def test_every_source_is_drawn_and_a_bare_picture_counted(whole):
    keys, rejected = whole
    drawn = {key.partition(":")[0] for step in keys for key in step}
    assert drawn == set(SPECS)
    assert {key.partition(":")[0] for key in rejected} == {"captioned-folder"}


@pytest.mark.parametrize(("stop", "workers"), [(1, 0), (5, 0), (5, 2)])
def test_goes_on_where_it_stopped(load, whole, stop, workers):
    first = load()
    before, rejected = keys_of(first, stop)
    state = json.loads(json.dumps(first.state()))
    after, more = keys_of(load(state=state, workers=workers), STEPS - stop)
    assert (before + after, sorted(rejected + more)) == whole


def test_goes_on_with_another_number_of_ranks(load, whole):
    first = load()
    keys_of(first, 3)
    state = json.loads(json.dumps(first.state()))
    shares = [keys_of(load(state=state, rank=r, ranks=2), STEPS - 3)[0] for r in range(2)]
    for number, wanted in enumerate(whole[0][3:]):
        assert sorted(shares[0][number] + shares[1][number]) == sorted(wanted)
