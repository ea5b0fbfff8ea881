"""A folder of captioned pictures: text files, metadata files, what is divided and rejected."""

import pytest

from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing.source import check_source
from mmcore_sources import folder_source
from mmcore_sources.folder_spec import CaptionedFolderSpec

FORMS = {
    "files": {},
    "other suffix": {"captions": "files", "caption_suffix": "caption"},
    "metadata": {"captions": "metadata", "text_column": "caption"},
}


@pytest.mark.parametrize("keys", FORMS.values(), ids=FORMS)
def test_keeps_the_contract_of_sources(keys, tmp_path):
    check_source(CaptionedFolderSpec(path="x", **keys), tmp_path / "made-up")


@pytest.fixture
def fill(tmp_path):
    """``fill({"cats/a.jpg": b"..."})`` -> the folder."""

    def fill(files):
        for name, data in files.items():
            path = tmp_path / "mine" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(tmp_path / "mine")

    return fill


def test_text_files_beside_pictures_in_nested_folders(fill, pictures, read):
    a, b, c = pictures
    files = {"b/z/2.JPG": c, "b/z/2.txt": "é", "a.png": a, "a.txt": " one\n", "b/1.webp": b}
    path = fill(
        {**files, "b/0.txt": "of nothing", "b/1.json": "{}", "b/2.png": b, "b/2.txt": b"\xff"}
    )
    spec = CaptionedFolderSpec(path=path)
    assert read(spec) == [
        [a, "document+: one"],
        "caption-missing",
        "malformed-row",
        [c, "document+: é"],
    ]
    assert [shard.name for shard in spec.open().shards()] == [".@0", "b@0", "b/z@0"]


def test_large_folders_are_divided(fill, pictures, read, monkeypatch):
    monkeypatch.setattr(folder_source, "PICTURES_OF_A_SHARD", 2)
    files = {f"{n}.png": pictures[0] for n in range(5)} | {f"{n}.txt": f"{n}" for n in range(5)}
    spec = CaptionedFolderSpec(path=fill(files))
    source = spec.open()
    assert {one.name: source.length(one) for one in source.shards()} == {
        ".@0": 2,
        ".@2": 2,
        ".@4": 1,
    }
    assert [parts[1] for parts in read(spec)] == [f"document+: {n}" for n in range(5)]


def test_nothing_but_the_listing_is_read_before_rows(fill):
    source = CaptionedFolderSpec(path=fill({"a.png": b"no picture", "a.txt": b"\xff"})).open()
    assert [source.length(shard) for shard in source.shards()] == [1]


JSONL = '{"file_name": "x/a.png", "text": "one"}\n{"file_name": "b.png"}\n\n{"text": "c"}\n[]\n{\n'


def test_metadata_jsonl(fill, pictures, read):
    path = fill({"m/metadata.jsonl": JSONL, "m/x/a.png": pictures[0], "m/b.png": pictures[1]})
    assert read(CaptionedFolderSpec(path=path)) == [
        [pictures[0], "document+: one"],
        "caption-missing",
        "image-missing",
        "malformed-row",
        "malformed-json",
    ]


def test_metadata_csv_with_line_breaks_in_quotes(fill, pictures, read):
    a, b, _ = pictures
    rows = (
        b'\xef\xbb\xbffile_name,n,text\r\na.png,1,"one, ""two""\r\nthree"\r\n\r\nb.png,2,\xc3\xa9\n'
    )
    path = fill({"metadata.csv": rows + b"b.png,3\nb.png,4,\xff\n", "a.png": a, "b.png": b})
    spec = CaptionedFolderSpec(path=path)
    assert read(spec) == [
        [a, 'document+: one, "two"\r\nthree'],
        [b, "document+: é"],
        "caption-missing",
        "malformed-row",
    ]
    source = spec.open()
    (shard,) = source.shards()
    assert [row["text"] for row in source.rows(shard, 1, 2)] == ["é"]
    assert list(source.rows(shard, 2, 2)) == []


def test_metadata_goes_for_its_folder_and_those_in_it(fill, pictures, read):
    a, b, _ = pictures
    files = {"m/metadata.jsonl": JSONL.splitlines()[0], "m/x/a.png": a, "m/x/a.txt": "not this"}
    path = fill({**files, "n/b.png": b, "n/b.txt": "two"})
    two = [b, "document+: two"]
    assert read(CaptionedFolderSpec(path=path)) == [[a, "document+: one"], two]
    assert read(CaptionedFolderSpec(path=path, captions="metadata")) == [[a, "document+: one"]]
    texts = read(CaptionedFolderSpec(path=path, captions="files"))
    assert texts == [[a, "document+: not this"], two]


def test_missing_column_of_a_csv_is_named(fill):
    source = CaptionedFolderSpec(path=fill({"metadata.csv": "file,text\na.png,b\n"})).open()
    with pytest.raises(
        ValueError, match=r"metadata\.csv has no column 'file_name'; it has: file, text"
    ):
        source.length(source.shards()[0])


def test_empty_csv_is_named(fill):
    source = CaptionedFolderSpec(path=fill({"metadata.csv": ""})).open()
    with pytest.raises(ValueError, match=r"metadata\.csv is empty"):
        source.length(source.shards()[0])


def test_name_that_leaves_the_folder_is_rejected(fill, pictures):
    path = fill({"metadata.csv": "file_name,text\n../a.png,b\n", "../a.png": pictures[0]})
    source = CaptionedFolderSpec(path=path).open()
    (row,) = source.rows(source.shards()[0], 0, 1)
    with pytest.raises(Exception, match="image-outside-root"):
        picture_bytes(source.parse(row, None).parts[0].ref)


@pytest.mark.parametrize(
    ("files", "keys", "message"),
    [
        ({"a.txt": "a"}, {}, "no pictures in .*, among 1 files"),
        ({"a.png": b"a"}, {"captions": "metadata"}, r"no metadata\.jsonl or metadata\.csv in"),
    ],
)
def test_folder_with_nothing_to_read(files, keys, message, fill):
    source = CaptionedFolderSpec(path=fill(files), **keys).open()
    with pytest.raises(FileNotFoundError, match=message):
        source.shards()


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file matches"):
        CaptionedFolderSpec(path=str(tmp_path / "no")).open().shards()


def test_a_pattern_is_no_folder():
    with pytest.raises(ValueError, match=r"path is 'data/\*', wanted one folder"):
        CaptionedFolderSpec(path="data/*")
