"""The same rows from a store as from the disk; what cannot be read from one is said."""

import secrets

import attrs
import datasets
import fsspec
import pytest

from mmcore.interfaces import SyntheticContent
from mmcore_sources.folder_spec import CaptionedFolderSpec
from mmcore_sources.hf_spec import HfSpec
from mmcore_sources.parquet_spec import ParquetSpec
from mmcore_sources.webdataset_spec import WebdatasetSpec


@pytest.fixture
def upload():
    """Put a folder into a store in memory; its URL."""

    def upload(folder):
        name = secrets.token_hex(4)
        fsspec.filesystem("memory").put(f"{folder}/", f"/{name}/", recursive=True)
        return f"memory://{name}"

    return upload


@pytest.mark.parametrize(
    "spec",
    [
        ParquetSpec(path="*.parquet"),
        WebdatasetSpec(path="*.tar", conversations_field="conversations"),
        CaptionedFolderSpec(path=""),
        CaptionedFolderSpec(path="", captions="metadata"),
        HfSpec(path="", streaming=True),
    ],
    ids=["parquet", "webdataset", "text files", "metadata", "hf"],
)
def test_rows_of_a_store_are_those_of_the_disk(spec, upload, tmp_path, read):
    datasets.disable_progress_bars()
    folder = tmp_path / "made-up"
    spec.synthesize(folder, SyntheticContent(rows=9, seed=4))
    here = spec.relocated(folder)
    url = here.path.replace(str(folder), upload(folder))
    there = attrs.evolve(here, path=url)
    assert read(there) == read(here)
    assert len(read(there)) == 9
    names = [[shard.name for shard in one.open().shards()] for one in (here, there)]
    assert names[0] == names[1]


def test_saved_datasets_are_not_read_from_a_store(tmp_path, upload):
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "x")
    url = upload(tmp_path / "x")
    with pytest.raises(ValueError, match="a URL is read with streaming = true"):
        HfSpec(path=url).open().shards()
    with pytest.raises(ValueError, match=r"\.arrow cannot be read from a URL; wanted it here"):
        HfSpec(path=url, streaming=True).open().shards()


def test_store_without_a_dataset_is_named(upload, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.unknown").write_text("a")
    with pytest.raises(FileNotFoundError, match="no files of a dataset in 'memory://"):
        HfSpec(path=upload(tmp_path / "x") + "/none", streaming=True).open().shards()
