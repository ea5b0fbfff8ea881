"""Prepared shards: the published rows in their order, and every picture in the slot of its link."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmcore.downloading.prepared import fault_of
from mmcore.interfaces import ImagePart, Rejection, SampleKey, TextPart
from mmcore_blip3.captions_spec import Blip3KaleSpec
from mmcore_blip3.documents_spec import ObelicsSpec


def read(folder, name="x-00000.parquet"):
    return pq.read_table(folder / "out" / name)


def test_pairs_keep_rows_columns_and_order(web, published, fetch, tmp_path):
    kept = {name: web.picture(name) for name in ("a.png", "b.png", "c.png")}
    columns = {
        "caption": ["one", "two", None, "four", "five"],
        "url": [
            "http://web/c.png",
            "http://web/gone",
            "http://web/a.png",
            None,
            "http://web/b.png",
        ],
        "extra": pa.array([{"n": n, "bits": [n]} for n in range(5)]),
    }
    fetch("blip3-kale", published(columns))
    table = read(tmp_path)
    assert table.select(list(columns)).equals(pa.table(columns))
    assert table.schema.field("image_bytes").type == pa.binary()
    wanted = [kept["c.png"], None, kept["a.png"], None, kept["b.png"]]
    assert table["image_bytes"].to_pylist() == wanted


def test_documents_hold_pictures_slot_by_slot(web, published, fetch, tmp_path):
    a, b = web.picture("a.png"), web.picture("b.png")
    images = [
        ["http://web/a.png", None, "http://web/gone", "http://web/a.png"],
        [],
        None,
        [None, "http://web/b.png", "http://web/a.png"],
    ]
    texts = [[None, "t", None, None], [], None, ["u", None, None]]
    records = fetch("obelics", published({"images": images, "texts": texts}))
    assert read(tmp_path)["image_bytes"].to_pylist() == [
        [a, None, None, a], [], None, [None, b, a],
    ]  # fmt: skip
    # An address is asked for once, however often it stands there.
    assert sorted(url for call in web.calls for url in call["urls"]) == [
        "http://web/a.png", "http://web/b.png", "http://web/gone",
    ]  # fmt: skip
    (record,) = records.values()
    assert (record.counts.links, record.counts.alive) == (5, 4)
    assert record.counts.dead == {"HTTP 404": 1}


def test_their_source_reads_documents(web, published, fetch, tmp_path):
    a = web.picture("a.png")
    columns = {
        "images": [["http://web/a.png", None, "http://web/gone"], ["http://web/gone", None]],
        "texts": [[None, "said", None], [None, "alone"]],
        "metadata": ["[]", "[]"],
        "general_metadata": ["{}", "{}"],
    }
    fetch("obelics", published(columns, name="train-00000-of-00002.parquet"))
    source = ObelicsSpec(path=str(tmp_path / "out" / "*.parquet")).open()
    (shard,) = source.shards()
    assert shard.name == "train-00000-of-00002-00000.parquet"
    first, second = source.rows(shard, 0, source.length(shard))
    picture, text = source.parse(first, SampleKey("obelics", shard.name, 0)).parts
    assert isinstance(picture, ImagePart)
    assert picture.ref.data == a
    assert text == TextPart("said")
    with pytest.raises(Rejection, match="too-few-images"):
        source.parse(second, SampleKey("obelics", shard.name, 1))


def test_their_source_reads_pairs_and_rejects_dead_links(web, published, fetch, tmp_path):
    web.picture("a.png")
    columns = {"url": ["http://web/a.png", "http://web/gone"], "caption": ["one", "two"]}
    fetch("blip3-kale", published(columns))
    source = Blip3KaleSpec(path=str(tmp_path / "out" / "**/*.parquet")).open()
    (shard,) = source.shards()
    alive, dead = source.rows(shard, 0, 2)
    assert source.parse(alive, SampleKey("k", shard.name, 0)).parts[1] == TextPart("one")
    with pytest.raises(Rejection, match="image-missing"):
        source.parse(dead, SampleKey("k", shard.name, 1))


def noise(size, seed):
    """A BMP of about this many bytes, which parquet cannot make smaller."""
    side = int((size / 3) ** 0.5)
    out = io.BytesIO()
    Image.effect_noise((side, side), 200 + seed).convert("RGB").save(out, "bmp")
    return out.getvalue()


def test_row_groups_stay_below_16_mb_and_larger_rows_stand_alone(web, published, fetch, tmp_path):
    small, large = noise(3_000_000, 1), noise(11_000_000, 2)
    web.put(**{"http://web/small": small.hex(), "http://web/large": large.hex()})
    slots = [["small"]] * 12 + [["large", "large"]] + [["small"]] * 3
    images = [[f"http://web/{one}" for one in ones] for ones in slots]
    texts = [[None] * len(ones) for ones in slots]
    fetch("obelics", published({"images": images, "texts": texts}))
    path = tmp_path / "out" / "x-00000.parquet"
    about = pq.read_metadata(path)
    groups = [about.row_group(n) for n in range(about.num_row_groups)]
    assert [group.num_rows for group in groups] == [5, 5, 2, 1, 3]
    limit = 16 * 1024 * 1024
    assert [group.total_byte_size <= limit for group in groups] == [True, True, True, False, True]
    sizes = [list(map(len, pictures)) for pictures in read(tmp_path)["image_bytes"].to_pylist()]
    assert sizes == [[len(small)]] * 12 + [[len(large)] * 2] + [[len(small)]] * 3


def test_long_annotations_count_too(web, published, fetch, tmp_path):
    captions = [f"{n}" * 1_000_000 for n in range(10)] * 4
    fetch("blip3-kale", published({"url": [None] * 40, "caption": captions}))
    about = pq.read_metadata(tmp_path / "out" / "x-00000.parquet")
    assert [about.row_group(n).num_rows for n in range(about.num_row_groups)] == [15, 15, 10]


def test_what_is_no_picture_or_too_large_is_dead(web, published, fetch, tmp_path):
    web.put(**{"http://web/html": b"<!doctype html>".hex(), "http://web/empty": ""})
    kept = web.picture("a.png")
    web.picture("wide.bmp", size=(100, 100), kind="bmp")
    urls = [f"http://web/{name}" for name in ("html", "empty", "a.png", "wide.bmp")]
    urls += ["file:///etc/passwd", "", "not an address"]
    records = fetch("datacomp", published({"url": urls, "text": ["t"] * 7}), max_bytes=9000)
    pictures = read(tmp_path)["image_bytes"].to_pylist()
    assert pictures == [None, None, kept, None, None, None, None]
    (record,) = records.values()
    assert record.counts.dead == {"no web address": 3, "no picture": 2, "too large": 1}
    assert record.counts.said["no picture"] in ("it begins with b'<!doctype html>'", "no bytes")
    assert record.counts.picture_bytes == len(kept)
    assert "file:///etc/passwd" not in web.calls[0]["urls"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "tiff"])
def test_pictures_are_known_by_their_header(kind):
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, kind)
    assert fault_of(out.getvalue()) == ""


def test_hugging_face_features_are_left_out_and_other_metadata_stays(
    web, published, fetch, tmp_path
):
    schema = pa.schema({"url": pa.string(), "caption": pa.string()})
    schema = schema.with_metadata({"huggingface": '{"info": {}}', "from": "there"})
    fetch("blip3-kale", published({"url": [None], "caption": ["c"]}, schema=schema))
    metadata = read(tmp_path).schema.metadata
    assert metadata[b"from"] == b"there"
    assert b"huggingface" not in metadata
