"""Parquet of one's own: every form of a picture's column, faults of a row and of a file."""

import pyarrow as pa
import pytest

from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing.source import check_source
from mmcore_sources.parquet_spec import ParquetSpec

FORMS = {
    "captions": {},
    "two pictures": {"image_columns": ("left", "right"), "text_column": "caption"},
    "conversations": {"conversations_column": "messages", "group_column": "kind", "turns": 2},
    "questions": {"question_column": "q", "answer_column": "a"},
    "words alone": {"image_columns": (), "conversations_column": "talk"},
}


@pytest.mark.parametrize("keys", FORMS.values(), ids=FORMS)
def test_keeps_the_contract_of_sources(keys, tmp_path):
    check_source(ParquetSpec(path="x/*.parquet", **keys), tmp_path / "made-up")


def test_made_up_rows_have_the_form_that_is_asked_for(tmp_path, read):
    import pyarrow.parquet as pq

    from mmcore.interfaces import SyntheticContent

    spec = ParquetSpec(path="x", **FORMS["conversations"])
    spec.synthesize(tmp_path / "x", SyntheticContent(rows=8, held_out=True))
    table = pq.read_table(tmp_path / "x" / "000.parquet")
    assert table.column_names == ["image", "messages", "kind"]
    for parts in read(spec.relocated(tmp_path / "x")):
        assert isinstance(parts[0], bytes)
        assert [part.partition(":")[0] for part in parts[1:]] == ["user", "assistant+"]


def test_columns_of_bytes_structs_names_and_lists(write_parquet, pictures, tmp_path, read):
    a, b, c = pictures
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "b.png").write_bytes(b)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "raw": pa.array([a, a], pa.binary()),
        "hf": pa.array([{"bytes": c, "path": "no.png"}, {"path": "img/b.png"}], struct),
        "name": ["img/b.png", "img/b.png"],
        "list": pa.array([[a, c], []], pa.list_(pa.binary())),
        "structs": pa.array([[{"bytes": c}], None], pa.list_(struct)),
        "names": [["img/b.png"], ["img/b.png", "img/b.png"]],
        "text": ["one", "two"],
    }
    path = write_parquet(columns)
    names = tuple(name for name in columns if name != "text")
    assert read(ParquetSpec(path=str(path), image_columns=names)) == [
        [a, c, b, a, c, c, b, "document+: one"],
        [a, b, b, b, b, "document+: two"],
    ]


def test_names_below_another_folder_and_never_outside(write_parquet, pictures, tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "a.png").write_bytes(pictures[0])
    path = write_parquet({"image": ["a.png", "../001.parquet"], "text": ["one", "two"]})
    source = ParquetSpec(path=str(path), images=str(tmp_path / "img")).open()
    (shard,) = source.shards()
    good, bad = (source.parse(row, None).parts[0].ref for row in source.rows(shard, 0, 2))
    assert picture_bytes(good) == pictures[0]
    with pytest.raises(Exception, match="image-outside-root"):
        picture_bytes(bad)


def test_conversations_and_bad_text_spoil_one_row_only(write_parquet, pictures, read):
    turn = pa.struct([("from", pa.string()), ("value", pa.string())])
    raw = pa.array([b"<image>\nHi?", b"Hello.", b"\xff", b"b"], pa.binary()).view(pa.string())
    who = pa.array(["human", "gpt", "human", "gpt"])
    turns = pa.StructArray.from_arrays([who, raw], fields=list(turn))
    talks = pa.ListArray.from_arrays([0, 2, 4, 4], turns)
    path = write_parquet({"image": pictures, "talk": talks, "kind": ["x", "y", "z"]})
    spec = ParquetSpec(path=str(path), conversations_column="talk", group_column="kind")
    assert read(spec) == [
        [pictures[0], "user: Hi?", "assistant+: Hello."],
        "malformed-row",
        "empty-conversation",
    ]


def test_bad_rows_are_rejected(write_parquet, pictures, read):
    columns = {
        "image": pa.array([None, pictures[0], pictures[1], b""], pa.binary()),
        "text": ["a", None, " ", "d"],
    }
    reasons = ["image-missing", "caption-missing", "caption-missing", "image-missing"]
    assert read(ParquetSpec(path=str(write_parquet(columns)))) == reasons


def test_any_rows_can_be_read_alone(write_parquet, pictures):
    texts = [f"{n}" for n in range(20)]
    path = write_parquet({"image": [pictures[0]] * 20, "text": texts}, row_group_size=3)
    source = ParquetSpec(path=str(path)).open()
    (shard,) = source.shards()
    whole = list(source.rows(shard, 0, 20))
    for start, stop in ((0, 1), (2, 7), (5, 5), (19, 20)):
        assert list(source.rows(shard, start, stop)) == whole[start:stop]


def test_missing_columns_are_named_with_those_that_are_there(write_parquet):
    spec = ParquetSpec(path=str(write_parquet({"picture": [b"a"], "alt": ["b"]})))
    source = spec.open()
    (shard,) = source.shards()
    with pytest.raises(ValueError, match="has no columns 'image', 'text'; it has: picture, alt"):
        list(source.rows(shard, 0, 1))
