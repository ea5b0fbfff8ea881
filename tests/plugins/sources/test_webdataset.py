"""Tars of one's own: which members are pictures and text, JSON's fields, faults."""

import io
import json
import tarfile

import pytest

from mmcore.testing.source import check_source
from mmcore_sources.webdataset_spec import WebdatasetSpec

FORMS = {
    "captions": {},
    "two pictures": {"pictures": 2, "text_field": "caption", "group_field": "kind"},
    "conversations": {"conversations_field": "conversations", "json_member": "meta.json"},
    "questions": {"question_field": "q", "answer_field": "a", "image_members": ("webp",)},
    "words alone": {"image_members": (), "conversations_field": "conversations"},
}


@pytest.mark.parametrize("keys", FORMS.values(), ids=FORMS)
def test_keeps_the_contract_of_sources(keys, tmp_path):
    check_source(WebdatasetSpec(path="x/*.tar", **keys), tmp_path / "made-up")


@pytest.fixture
def tar(tmp_path):
    """``tar({"a.jpg": b"..."})`` -> the file."""

    def write(members):
        with tarfile.open(tmp_path / "0.tar", "w") as file:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))
        return str(tmp_path / "0.tar")

    return write


def test_text_members(tar, pictures, read):
    a, b, c = pictures
    path = tar(
        {
            "x/1.png": a,
            "x/1.txt": b"one\n",
            "2.PNG": b,
            "3.txt": b"three",
            "4.jpeg": c,
            "4.txt": b"4",
        }
    )
    assert read(WebdatasetSpec(path=path)) == [
        [a, "document+: one"],
        "caption-missing",
        "image-missing",
        [c, "document+: 4"],
    ]


def test_pictures_of_a_row_in_order(tar, pictures, read):
    a, b, c = pictures
    path = tar({"k.10.png": c, "k.2.png": b, "k.png": a, "k.seg.png": b"mask", "k.txt": b"t"})
    assert read(WebdatasetSpec(path=path)) == [[a, b, c, "document+: t"]]
    chosen = WebdatasetSpec(path=path, image_members=("seg.png", "2.png"))
    assert read(chosen) == [[b"mask", b, "document+: t"]]


def test_conversations_about_the_rows_pictures(tar, pictures, turns, read):
    a, b, _ = pictures
    entry = {"conversations": turns("Is <image> like <image>?", "No."), "image": "ignored.jpg"}
    words = {"conversations": turns("Hi?", "Hello.")}
    path = tar(
        {
            "1.0.png": a,
            "1.1.png": b,
            "1.json": json.dumps(entry).encode(),
            "2.json": json.dumps(words).encode(),
            "3.json": b"{",
            "4.json": b"[]",
            "5.png": a,
        }
    )
    assert read(WebdatasetSpec(path=path, conversations_field="conversations")) == [
        ["user: Is ", a, "user:  like ", b, "user: ?", "assistant+: No."],
        ["user: Hi?", "assistant+: Hello."],
        "malformed-json",
        "malformed-row",
        "malformed-row",
    ]


def test_fields_of_the_json(tar, pictures, read):
    a = pictures[0]
    fields = {"caption": "A cat.", "q": "What?", "a": ["dog", "cat", "cat"], "kind": "animal"}
    path = tar({"1.png": a, "1.json": json.dumps(fields).encode(), "1.txt": b"no"})
    assert read(WebdatasetSpec(path=path, text_field="caption")) == [[a, "document+: A cat."]]
    assert read(WebdatasetSpec(path=path, text_field="alt")) == ["caption-missing"]
    asked = WebdatasetSpec(path=path, question_field="q", answer_field="a", group_field="kind")
    assert read(asked) == [[a, "user: What?", "assistant+: cat"]]
    source = asked.open()
    (row,) = source.rows(source.shards()[0], 0, 1)
    assert source.parse(row, None).group == "animal"


def test_tar_cut_in_the_middle_rejects_its_last_row(tar, pictures, read):
    path = tar({"1.png": pictures[0], "1.txt": b"a", "2.txt": b"b", "2.png": b"x" * 5000})
    with open(path, "r+b") as file:
        file.truncate(4500)
    with pytest.warns(UserWarning, match="ends at byte 4500"):
        assert read(WebdatasetSpec(path=path)) == [[pictures[0], "document+: a"], "tar-cut"]
