"""IDL: a document's pages in order, each picture before its lines; faults of a document."""

import io
import json
import tarfile

import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.testing.source import check_source
from mmcore_blip3.annotations_spec import IdlSpec

PAGES = {"pages": [{"text": ["To:", " ", "Mr. A"], "bbox": []}, {"text": []}, {"text": ["end"]}]}


@pytest.fixture
def read(tmp_path, key):
    def one(members, **keys):
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        source = IdlSpec(path=str(tmp_path / "0.tar"), **keys).open()
        (shard,) = source.shards()
        (row,) = source.rows(shard, 0, 1)
        return source.parse(row, key)

    return one


def test_keeps_the_contract_of_sources(tmp_path):
    check_source(IdlSpec(path="x/*"), tmp_path / "made-up")


def test_pages_with_lines_stand_in_order(read):
    sample = read({"a.json": json.dumps(PAGES).encode(), "a.tif": b"t"})
    assert sample.parts == (
        ImagePart(ImageRef(data=b"t", frame=0)),
        TextPart("To:\nMr. A"),
        ImagePart(ImageRef(data=b"t", frame=2)),
        TextPart("end"),
    )


def test_members_and_keys_are_recipe_keys(read):
    sample = read(
        {"a.ocr": b'{"sheets": [{"lines": ["x"]}]}', "a.bmp": b"b"},
        image_members=("bmp",),
        text_member="ocr",
        pages_key="sheets",
        lines_key="lines",
    )
    assert sample.parts[1].text == "x"


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"{", "malformed-json"),
        (b"\xff", "malformed-json"),
        (b"[]", "malformed-row"),
        (b'{"pages": 3}', "malformed-row"),
        (b'{"pages": [3]}', "malformed-row"),
        (b'{"pages": [{"text": [3]}]}', "malformed-row"),
        (b'{"pages": [{"text": ["\\ud800"]}]}', "malformed-row"),
        (b'{"pages": [{"text": ["\\u0000"]}]}', "malformed-row"),
        (b'{"pages": [{"text": [" "]}]}', "caption-missing"),
        (b'{"pages": []}', "caption-missing"),
    ],
)
def test_faulty_document_is_rejected(encoded, reason, read):
    with pytest.raises(Rejection) as caught:
        read({"a.json": encoded, "a.tif": b"t"})
    assert caught.value.reason == reason


def test_document_without_a_member_is_rejected(read):
    with pytest.raises(Rejection, match="image-missing"):
        read({"a.json": json.dumps(PAGES).encode()})
    with pytest.raises(Rejection, match="caption-missing: the row has no member 'json'"):
        read({"a.tif": b"t"})
