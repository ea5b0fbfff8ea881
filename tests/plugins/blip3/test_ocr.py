"""BLIP3-OCR-200M: rows of parquet files by range, captions by level, faults with their names."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.kit.parquet_rows import read_rows
from mmcore_blip3.blip3_ocr import Blip3OcrSource
from mmcore_blip3.ocr_captions import strip_filler


def read(source, key):
    samples = []
    for shard in source.shards():
        for row in source.rows(shard, 0, source.length(shard)):
            samples.append(source.parse(row, key))
    return samples


@given(start=st.integers(0, 200), length=st.integers(0, 200))
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_range_over_row_groups(start, length, write_parquet):
    # Row groups of 70 rows are read in batches of 64 rows: borders of both kinds are crossed.
    path = write_parquet({"n": list(range(200)), "s": ["é"] * 200}, row_group_size=70)
    stop = min(start + length, 200)
    rows = list(read_rows(str(path), ["n", "s"], start, stop))
    assert rows == [{"n": n, "s": "é".encode()} for n in range(start, stop)]


def test_picture_by_name_and_by_bytes(write_parquet, captions, key, tmp_path):
    path = write_parquet(
        {
            "uid": ["a", "b"],
            "captions": [captions('the text "A"'), captions('the text "B"')],
            "image": ["x/a.png", "x/b.png"],
            "image_bytes": pa.array([None, b"png"], pa.binary()),
        }
    )
    by_name, by_bytes = read(Blip3OcrSource(path=str(path), images="/pictures"), key)
    assert by_name.parts == (
        ImagePart(ImageRef(path="x/a.png", root="/pictures")),
        TextPart('0False "A"'),
    )
    assert by_bytes.parts[0].ref == ImageRef(data=b"png")
    assert by_name.parts[1].role == "document"
    assert by_name.parts[1].loss

    beside, _ = read(Blip3OcrSource(path=str(path)), key)
    assert beside.parts[0].ref.root == str(tmp_path)


def test_level_and_alt_text_are_chosen(write_parquet, captions, key):
    path = write_parquet({"captions": [captions('the text "A"')], "pic": [b"png"]})
    source = Blip3OcrSource(
        path=str(path), bytes_column="pic", granularity=5, with_alt_text=True, strip=False
    )
    (sample,) = read(source, key)
    assert sample.parts[1].text == '5True the text "A"'


@pytest.mark.parametrize(
    ("caption", "stripped"),
    [
        ('The image contains the text "OPEN"', '"OPEN"'),
        (
            'The image contains the text "A" located above the center, the text "the text B"',
            '"A" located above the center, "the text B"',
        ),
        ("The image contains <ocr>A</ocr><bbox>[0.1, 0.2][0.3, 0.4]</bbox>", None),
        ('A book about the text of Homer. The image contains the text "A"', None),
    ],
)
def test_filler_is_stripped(caption, stripped):
    if stripped is None:
        stripped = caption.replace("The image contains ", "").replace('the text "', '"')
    assert strip_filler(caption) == stripped


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        (None, "caption-missing"),
        ("[]", "caption-missing"),
        ('[{"text": null, "granularity": 0}]', "caption-missing"),
        ('[{"text": "the text ", "granularity": 3}]', "caption-missing"),
        ('[{"text": "The image contains the text ", "granularity": 0}]', "caption-missing"),
        ('[{"text": "x"', "malformed-json"),
        ('{"text": "x"}', "malformed-json"),
        ('[{"text": "a\\u0000", "granularity": 0}]', "malformed-row"),
        ("[3]", "malformed-json"),
        ('[{"text": "\\ud800", "granularity": 0}]', "malformed-json"),
    ],
)
def test_faulty_captions_are_rejected(caption, reason, write_parquet, key):
    column = pa.array([caption], pa.string())
    path = write_parquet({"captions": column, "image_bytes": [b"png"]})
    with pytest.raises(Rejection) as caught:
        read(Blip3OcrSource(path=str(path)), key)
    assert caught.value.reason == reason


def test_bad_utf8_spoils_one_row_only(write_parquet, captions, key):
    # Arrow does not look into the strings that it writes.
    raw = [captions("A").encode(), b'[{"text": "\xff"}]']
    column = pa.array(raw, pa.binary()).view(pa.string())
    path = write_parquet({"captions": column, "image": ["a.png", "b.png"]})
    source = Blip3OcrSource(path=str(path))
    (shard,) = source.shards()
    good, bad = source.rows(shard, 0, 2)
    assert source.parse(good, key).parts[1].text == "0False A"
    with pytest.raises(Rejection, match="malformed-json"):
        source.parse(bad, key)


@pytest.mark.parametrize(("name", "reason"), [(None, "image-missing"), ("", "malformed-row")])
def test_row_without_a_picture_is_rejected(name, reason, write_parquet, captions, key):
    path = write_parquet({"captions": [captions("A")], "image": pa.array([name], pa.string())})
    with pytest.raises(Rejection) as caught:
        read(Blip3OcrSource(path=str(path)), key)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"uid": ["a"], "image": ["a.png"]}, r"has no column 'captions'; it has: uid, image"),
        (
            {"uid": ["a"], "captions": ["[]"]},
            r"has neither column 'image_bytes' nor 'image'.*it has: uid, captions",
        ),
    ],
)
def test_missing_column_is_named(columns, message, write_parquet, key):
    path = write_parquet(columns)
    with pytest.raises(ValueError, match=r"001\.parquet " + message):
        read(Blip3OcrSource(path=str(path)), key)


def test_damaged_file_is_named(write_parquet, captions, key):
    path = write_parquet({"captions": [captions("A")] * 50, "image": ["a.png"] * 50})
    whole = path.read_bytes()
    source = Blip3OcrSource(path=str(path))
    (shard,) = source.shards()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"001\.parquet cannot be read as parquet"):
        source.length(shard)
    # The footer is whole, the pages are not.
    path.write_bytes(b"PAR1" + b"\xff" * 200 + whole[204:])
    assert source.length(shard) == 50
    with pytest.raises(ValueError, match=r"001\.parquet cannot be read as parquet"):
        list(source.rows(shard, 0, 50))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        source.length(shard)
