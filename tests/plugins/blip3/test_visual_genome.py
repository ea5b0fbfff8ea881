"""Visual Genome: phrases plain or with normalised boxes, pictures of both folders, faults."""

import json

import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.testing.source import check_source
from mmcore_blip3.annotations_spec import VisualGenomeSpec


def region(phrase="a dog", **keys):
    return {"region_id": 5, "x": 80, "y": 60, "width": 400, "height": 300, "phrase": phrase} | keys


@pytest.fixture
def read(tmp_path, key):
    def one(*entries, **keys):
        (tmp_path / "region_descriptions.json").write_text(json.dumps(entries))
        sizes = [{"image_id": n, "width": 800, "height": 600} for n in (1, 2)]
        (tmp_path / "image_data.json").write_text(json.dumps(sizes))
        for name in ("VG_100K/1.jpg", "VG_100K_2/2.jpg"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"j")
        source = VisualGenomeSpec(path=str(tmp_path / "region*.json"), **keys).open()
        (shard,) = source.shards()
        return [source.parse(row, key) for row in source.rows(shard, 0, source.length(shard))]

    return one


@pytest.mark.parametrize("boxes", [False, True])
def test_keeps_the_contract_of_sources(boxes, tmp_path):
    check_source(VisualGenomeSpec(path="x/*", boxes=boxes), tmp_path / "made-up")


def test_phrases_in_order_and_pictures_of_both_folders(read, tmp_path):
    first, second = read(
        {"id": 1, "regions": [region("a dog "), region(" "), region("grass")]},
        {"id": 2, "regions": [region("sky")]},
        separator=", ",
    )
    picture = ImageRef(path="VG_100K/1.jpg", root=str(tmp_path))
    assert first.parts == (ImagePart(picture), TextPart("a dog, grass"))
    assert second.parts[0].ref.path == "VG_100K_2/2.jpg"


def test_boxes_are_normalised_and_cut_at_the_edge(read):
    (sample,) = read({"id": 1, "regions": [region(), region(x=-8, width=900)]}, boxes=True)
    assert sample.parts[1].text == (
        "<object>a dog</object><bbox>[0.100, 0.100][0.600, 0.600]</bbox>\n"
        "<object>a dog</object><bbox>[0.000, 0.100][1.000, 0.600]</bbox>"
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (3, "malformed-row"),
        ({"id": "1", "regions": []}, "malformed-row"),
        ({"id": 1, "regions": None}, "malformed-row"),
        ({"id": 1, "regions": [3]}, "malformed-row"),
        ({"id": 1, "regions": [region(3)]}, "malformed-row"),
        ({"id": 1, "regions": [region("a\0")]}, "malformed-row"),
        ({"id": 1, "regions": [region("\ud800")]}, "malformed-row"),
        ({"id": 1, "regions": [region(x="1")]}, "malformed-row"),
        ({"id": 1, "regions": [region(y=float("nan"))]}, "malformed-row"),
        ({"id": 1, "regions": [region(" ")]}, "caption-missing"),
        ({"id": 9, "regions": [region()]}, "malformed-row"),
    ],
)
def test_faulty_entry_is_rejected(entry, reason, read):
    with pytest.raises(Rejection) as caught:
        read(entry, boxes=True)
    assert caught.value.reason == reason


def test_missing_picture_is_named(read):
    with pytest.raises(Rejection, match=r"image-missing: neither VG_100K/9\.jpg nor VG_100K_2/9"):
        read({"id": 9, "regions": [region()]})


def test_malformed_sizes_are_named(read, tmp_path):
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"other\.json.*wanted a list of objects with image_id"):
        read({"id": 1, "regions": [region()]}, boxes=True, sizes="other.json")
