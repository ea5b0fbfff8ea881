"""Published files in their forms, in parts, from any part on."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.downloading.published import count_rows, read_parts, size_of
from mmcore.interfaces import Links, Shard

TABLE = pa.table({"url": [f"u{n}" for n in range(23)], "n": range(23)})
LINKS = Links(column="url", bytes_column="image_bytes")


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 30), group=st.integers(1, 30), start=st.integers(0, 3))
def test_parts_are_the_rows_from_any_part_on(rows, group, start, tmp_path_factory):
    path = tmp_path_factory.mktemp("p") / "x.parquet"
    pq.write_table(TABLE, path, row_group_size=group)
    parts = list(read_parts(Shard("x.parquet", str(path)), LINKS, rows, start))
    assert [part.number for part in parts] == list(range(start, start + len(parts)))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    if start * rows < 23:
        assert all(part.table.num_rows == rows for part in parts[:-1])
        assert 0 < parts[-1].table.num_rows <= rows
        joined = pa.concat_tables([part.table for part in parts])
        assert joined.equals(TABLE.slice(start * rows))


def test_a_file_without_rows_is_one_part(published):
    path = published({"url": pa.array([], pa.string())})
    (part,) = read_parts(Shard("x.parquet", path), LINKS, 10, 0)
    assert (part.number, part.table.num_rows, part.last) == (0, 0, True)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("cc12m", b'http://web/a\tan \'a\nhttp://web/b\tsaid "b"\n'),
        ("cc3m", b'an \'a\thttp://web/a\nsaid "b"\thttp://web/b'),
        ("cc3m", b'url\tcaption\nhttp://web/a\tan \'a\r\nhttp://web/b\tsaid "b"\r\n'),
        ("sbu", b'http://web/a\tan \'a\nhttp://web/b\tsaid "b"\n'),
    ],
)
def test_tsv_has_its_columns_in_the_order_of_the_dataset(source, text, web, fetch, tmp_path):
    (tmp_path / "x.tsv").write_bytes(text)
    pictures = [web.picture("a"), web.picture("b")]
    fetch(source, str(tmp_path / "x.tsv"))
    table = pq.read_table(tmp_path / "out" / "x-00000.parquet")
    assert table["caption"].to_pylist() == ["an 'a", 'said "b"']
    assert table["image_bytes"].to_pylist() == pictures


def test_a_line_without_its_columns_becomes_nulls_and_bad_text_stays(fetch, web, tmp_path):
    lines = [b"http://web/a\tone", b"no tab", b"x\ty\tz", b"http://web/a\t\xff\xfe", b""]
    (tmp_path / "x.tsv").write_bytes(b"\n".join(lines) + b"\n")
    web.picture("a")
    fetch("cc12m", str(tmp_path / "x.tsv"), part_rows=2)
    paths = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(paths) == 3
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    captions = table["caption"].cast(pa.binary()).to_pylist()
    assert captions == [b"one", None, None, b"\xff\xfe", None]
    assert [one is None for one in table["image_bytes"].to_pylist()] == [
        False,
        True,
        True,
        False,
        True,
    ]


def test_sbu_is_an_object_of_lists(fetch, web, tmp_path):
    content = {
        "image_urls": ["http://web/a", 7, "http://web/b"],
        "user_ids": ["u", "v", "w"],
        "captions": ["one", "two", "three"],
    }
    (tmp_path / "sbu-captions-all.json").write_text(json.dumps(content))
    a, b = web.picture("a"), web.picture("b")
    fetch("sbu", str(tmp_path / "sbu-captions-all.json"), part_rows=2)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    assert pa.concat_tables(tables).to_pydict() == {
        "url": ["http://web/a", None, "http://web/b"],
        "caption": ["one", "two", "three"],
        "image_bytes": [a, None, b],
    }


@pytest.mark.parametrize(
    "content", ["[1]", '{"image_urls": []}', '{"image_urls": ["a"], "captions": []}']
)
def test_other_json_is_refused(content, fetch, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"x.json: wanted an object with the lists 'image_urls', "):
        fetch("sbu", str(tmp_path / "x.json"))


def test_unknown_forms_and_columns_are_named(fetch, published, tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n")
    with pytest.raises(ValueError, match=r"x.tsv: wanted published files in .parquet$"):
        fetch("obelics", str(tmp_path / "x.tsv"))
    with pytest.raises(
        ValueError, match=r"no column 'url' of links; it has: link, caption; --links"
    ):
        fetch("blip3-kale", published({"link": ["a"], "caption": ["b"]}))
    with pytest.raises(ValueError, match="'url' holds int64, wanted links"):
        fetch("blip3-kale", published({"url": [1]}))
    with pytest.raises(ValueError, match="a column 'image_bytes' already"):
        fetch("blip3-kale", published({"url": ["a"], "image_bytes": [b""]}))
    with pytest.raises(FileNotFoundError, match="no file matches"):
        fetch("blip3-kale", str(tmp_path / "none*.parquet"))


def test_files_by_url(published):
    import fsspec

    with open(published({"url": ["a", "b"]}), "rb") as file:
        fsspec.filesystem("memory").pipe("/downloading/x.parquet", file.read())
    shard = Shard("x.parquet", "memory://downloading/x.parquet")
    (part,) = read_parts(shard, LINKS, 10, 0)
    assert part.table.to_pydict() == {"url": ["a", "b"]}
    assert count_rows(shard) == 2
    assert size_of(shard) > 100


def test_damaged_parquet_is_named(fetch, published):
    path = published({"url": ["a"] * 1000})
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(ValueError, match=r"x.parquet cannot be read as parquet"):
        fetch("blip3-kale", path)


def test_rows_are_counted_where_a_footer_tells(published, tmp_path):
    assert count_rows(Shard("x.parquet", published({"url": ["a"] * 7}))) == 7
    assert count_rows(Shard("x.tsv", "nowhere.tsv")) is None


def test_two_files_that_would_become_parts_of_one_name_are_refused(fetch, tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"http://web/a\tone\n")
    pq.write_table(pa.table({"url": ["http://web/a"], "caption": ["one"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet and .*x\.tsv would become parts of one name"):
        fetch("cc12m", str(tmp_path / "x.*"))
    assert not list(tmp_path.glob("out/*.parquet"))
