"""Files by path, URL or pattern: the same names and bytes on a disk and in a store."""

import os
from pathlib import Path

import pytest

from mmcore.interfaces import Shard
from mmcore.kit import store
from mmcore.kit.files import find_shards, folder_of, pictures_root
from mmcore.kit.files_spec import FilesSpec
from mmcore_blip3.spec import LlavaJsonSpec

NAMES = ["a.x", "b/a.x", "b/c/d.x", "b-1/a.x", "b/a.y", ".h.x", "b/.g/a.x", "b/é ü.x"]


@pytest.fixture(params=["disk", "file", "store"])
def root(request, tmp_path):
    """A folder of files of one byte, as a path or URL."""
    import fsspec

    url = f"memory://{tmp_path.name}"
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1")
        fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/{name}", b"1")
    return {"disk": str(tmp_path), "file": f"file://{tmp_path}", "store": url}[request.param]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.x", ["a.x"]),
        ("a.x", ["a.x"]),
        ("b/a.y", ["a.y"]),
        ("*/*.x", ["b/a.x", "b/é ü.x", "b-1/a.x"]),
        ("**/*.x", ["a.x", "b/a.x", "b/c/d.x", "b/é ü.x", "b-1/a.x"]),
        ("b/**/*.x", ["a.x", "c/d.x", "é ü.x"]),
        ("b/[a-c].?", ["a.x", "a.y"]),
        (".h.x", [".h.x"]),
    ],
)
def test_names_are_those_below_the_plain_folder(pattern, names, root):
    shards = find_shards(f"{root}/{pattern}")
    assert [shard.name for shard in shards] == names
    assert [store.read_bytes(shard.path) for shard in shards] == [b"1"] * len(names)
    assert find_shards(f"{root}/{pattern}") == shards


def test_what_matches_nothing_is_said(root):
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.z"):
        find_shards(f"{root}/*.z")
    with pytest.raises(FileNotFoundError, match=r"no file matches .*gone\.x"):
        find_shards(f"{root}/gone.x")
    with pytest.raises(FileNotFoundError, match="it is a folder; name its files with a pattern"):
        find_shards(f"{root}/b")


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("data/*.x", "data"),
        ("/data/a.x", "/data"),
        ("file:///data/*.x", "/data"),
        ("s3://bucket/a/*/c.x", "s3://bucket/a"),
        ("s3://bucket/a.x", "s3://bucket"),
        ("memory:///a/*.x", "memory:///a"),
    ],
)
def test_the_deepest_plain_folder(pattern, folder):
    assert folder_of(pattern) == folder


def test_pictures_lie_beside_their_shard_unless_said_otherwise():
    assert pictures_root("", Shard("x", "/data/x.json")) == "/data"
    assert pictures_root("", Shard("x", "s3://bucket/data/x.json")) == "s3://bucket/data"
    assert pictures_root("s3://bucket/p", Shard("x", "/data/x.json")) == "s3://bucket/p"


def test_a_missing_driver_is_named_with_its_remedy(monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    said = r"s3://b/x: what reads s3:// .* pip install 'mmcore\[s3\]'"
    with pytest.raises(ValueError, match=said):
        find_shards("s3://b/x")


def test_rows_are_made_up_on_a_disk_only(tmp_path):
    assert LlavaJsonSpec(path=str(tmp_path / "*.json")).folder == tmp_path
    spec = LlavaJsonSpec(path="s3://b/*.json")
    assert isinstance(spec, FilesSpec)
    assert spec.folder == Path("b")
    with pytest.raises(ValueError, match=r"made up .* on a local disk only"):
        LlavaJsonSpec(path="s3://b/*.json", synthetic={"rows": 3})


def test_a_rewritten_file_has_another_version(root, monkeypatch):
    path = f"{root}/a.x"
    before = store.version(path)
    assert store.version(path) == before
    if store.is_url(path):
        import fsspec

        fsspec.filesystem("memory").pipe(f"/{path.partition('://')[2]}", b"22")
        assert store.version(path) == before, "a store is not asked all the time"
        monkeypatch.setattr(store, "TRUSTED_SECONDS", 1e-9)
    else:
        Path(store.local(path)).write_bytes(b"22")
    assert store.version(path) != before
    assert store.size(path) == 2


def test_a_remote_file_is_read_by_ranges(monkeypatch):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/ranges", bytes(range(256)))
    asked = []
    whole = type(files).cat_file

    def watched(self, path, start=None, end=None, **options):
        asked.append((start, end))
        return whole(self, path, start=start, end=end, **options)

    monkeypatch.setattr(type(files), "cat_file", watched)
    with store.open_binary("memory://ranges") as file:
        assert file.seek(-6, os.SEEK_END) == 250
        assert file.read(4) == bytes(range(250, 254))
        assert file.read() == bytes([254, 255])
        assert file.read(3) == b""
    assert asked == [(250, 254), (254, 256)]
    with store.open_binary("memory://ranges", ahead=100) as file:
        assert b"".join(file.read(20) for _ in range(5)) == bytes(range(100))
    assert asked[2:] == [(0, 100)]


def test_a_range_that_comes_short_is_the_stores_fault(monkeypatch):
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/short", b"12345678")
    monkeypatch.setattr(type(files), "cat_file", lambda self, path, **_: b"1")
    with (
        store.open_binary("memory://short") as file,
        pytest.raises(ConnectionError, match="1 bytes came from byte 0 on, wanted 8"),
    ):
        file.read()


def test_names_in_a_folder_of_a_store(tmp_path):
    import fsspec

    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/names/a b.jpg", b"1")
    fsspec.filesystem("memory").pipe(f"/{tmp_path.name}/names/c/d.jpg", b"1")
    assert store.names_in(f"memory://{tmp_path.name}/names") == {"a b.jpg", "c"}
    assert store.names_in(f"memory://{tmp_path.name}/gone") == frozenset()
