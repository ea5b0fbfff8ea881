"""Caption pairs: both forms, text and picture in order, faults of a row and of a file."""

import io
import tarfile

import pyarrow as pa
import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.testing.source import check_source
from mmcore_blip3.captions_spec import Blip3KaleSpec, Cc3mSpec, Cc12mSpec, DatacompSpec, SbuSpec

SPECS = [Blip3KaleSpec, DatacompSpec, Cc12mSpec, Cc3mSpec, SbuSpec]


def read(spec, key):
    source = spec.open()
    return [
        source.parse(row, key)
        for shard in source.shards()
        for row in source.rows(shard, 0, source.length(shard))
    ]


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("spec", SPECS)
def test_keeps_the_contract_of_sources(spec, tmp_path):
    check_source(spec(path="x/*"), tmp_path / "made-up")


@pytest.mark.parametrize("spec", SPECS)
def test_parquet_with_the_published_columns(spec, write_parquet, key):
    column = "text" if spec is DatacompSpec else "caption"
    path = write_parquet(
        {"url": ["http://x/c.jpg"], column: [" A bridge.\n"], "image_bytes": [b"p"]}
    )
    (sample,) = read(spec(path=str(path)), key)
    assert sample.parts == (ImagePart(ImageRef(data=b"p")), TextPart("A bridge."))
    assert sample.parts[1].loss


@pytest.mark.parametrize("spec", SPECS)
def test_tar_of_img2dataset(spec, tmp_path, key):
    path = write_tar(
        tmp_path / "0.tar",
        {"1.jpg": b"j", "1.json": b"{}", "1.txt": b"one", "2.txt": b"two", "2.webp": b"w"},
    )
    samples = read(spec(path=str(path)), key)
    assert [(s.parts[0].ref.data, s.parts[1].text) for s in samples] == [
        (b"j", "one"),
        (b"w", "two"),
    ]


@pytest.mark.parametrize(
    ("caption", "picture", "reason"),
    [
        (None, b"p", "caption-missing"),
        (b" \n", b"p", "caption-missing"),
        (b"a\0b", b"p", "malformed-row"),
        (b"\xff", b"p", "malformed-row"),
        (b"a", None, "image-missing"),
    ],
)
def test_faulty_row_is_rejected(caption, picture, reason, write_parquet, key):
    captions = pa.array([caption], pa.binary()).view(pa.string())
    path = write_parquet({"caption": captions, "image_bytes": pa.array([picture], pa.binary())})
    with pytest.raises(Rejection) as caught:
        read(Cc3mSpec(path=str(path)), key)
    assert caught.value.reason == reason


def test_number_for_a_caption_is_named(write_parquet, key):
    path = write_parquet({"caption": [3], "image_bytes": [b"p"]})
    with pytest.raises(Rejection, match="malformed-row: the caption is 3, wanted a string"):
        read(Cc3mSpec(path=str(path)), key)


def test_tar_cut_in_the_middle_rejects_its_last_row(tmp_path, key):
    path = write_tar(tmp_path / "0.tar", {"1.jpg": b"j", "1.txt": b"a", "2.jpg": b"x" * 5000})
    path.write_bytes(path.read_bytes()[:3000])
    source = Cc3mSpec(path=str(path)).open()
    (shard,) = source.shards()
    with pytest.warns(UserWarning, match="ends at byte 3000"):
        good, bad = source.rows(shard, 0, source.length(shard))
    assert source.parse(good, key).parts[1].text == "a"
    with pytest.raises(Rejection, match="tar-cut"):
        source.parse(bad, key)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"url": ["u"]}, "has no column 'caption'; it has: url"),
        ({"caption": ["a"]}, "has no column 'image_bytes'; wanted the same rows"),
    ],
)
def test_missing_column_is_named(columns, message, write_parquet, key):
    with pytest.raises(ValueError, match=message):
        read(Cc3mSpec(path=str(write_parquet(columns))), key)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(ValueError, match=r"a\.zip is no \.parquet or \.tar file"):
        Cc3mSpec(path=str(tmp_path / "*")).open().shards()
