"""IDL: a document's pages in order, each picture before its lines; faults of a document."""

import io
import json
import tarfile

import pytest
from PIL import Image

from mmcore.interfaces import ImagePart, ImageRef, Rejection, SyntheticContent, TextPart
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


def test_made_up_pages_show_what_their_lines_say(tmp_path, key):
    spec = IdlSpec(path="x")
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=8, topics=("number pages",)))
    source = spec.relocated(tmp_path / "x").open()
    frames = set()
    for shard in source.shards():
        for row in source.rows(shard, 0, source.length(shard)):
            pages = json.loads(row["json"])["pages"]
            sample = source.parse(row, key)
            assert [part.text for part in sample.parts[1::2]] == [
                "\n".join(page["text"]) for page in pages
            ]
            with Image.open(io.BytesIO(row["tif"])) as file:
                assert file.n_frames == len(pages)
            frames |= {part.ref.frame for part in sample.parts[::2]}
    assert frames == {0, 1, 2}
