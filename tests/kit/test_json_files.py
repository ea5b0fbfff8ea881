"""Rows of .json and .jsonl files: any range, the right bytes, and faults with their place."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore.kit.json_rows import count_rows, read_rows
from mmcore_blip3.llava_json import LlavaJsonSource

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    entries=st.lists(VALUES, max_size=6),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    suffix=st.sampled_from([".json", ".jsonl"]),
    data=st.data(),
)
@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_range_of_any_file(entries, ascii_only, indent, suffix, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / f"file{suffix}"
    if suffix == ".json":
        text = " \n" + json.dumps(entries, ensure_ascii=ascii_only, indent=indent) + "\n"
    else:
        # Blank lines between rows are no rows.
        text = "\n\n".join(json.dumps(one, ensure_ascii=ascii_only) for one in entries)
    # JSON can spell lone surrogates only by escapes, which is what ensure_ascii does.
    path.write_bytes(text.encode())
    assert count_rows(str(path)) == len(entries)
    start = data.draw(st.integers(0, len(entries)))
    stop = data.draw(st.integers(start, len(entries)))
    read = [json.loads(row) for row in read_rows(str(path), start, stop)]
    assert read == entries[start:stop]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'[{"a": 1},\n {"a": ', r"line 2, column 8"),
        (b'[{"a": 1}', r"line 1, column 10: wanted ',' or '\]'"),
        (b'[{"a": 1} {"a": 2}]', r"line 1, column 11: wanted ','"),
        (b"[1, 2] 3", r"line 1, column 8: wanted nothing after"),
        (b"[1, ]", r"line 1, column 5"),
        (b"[", r"line 1, column 2"),
        (b"", r"line 1, column 1: wanted '\['"),
        (b'{"a": 1}\n{"a": 2}', r"wanted '\[', a list of samples; .* named \.jsonl"),
        (b'["caf\xe9"]', r"byte 5: not UTF-8"),
        (b"[" * 100_000, r"nested too deeply"),
    ],
)
def test_malformed_file_is_named_with_the_position(raw, message, tmp_path):
    path = tmp_path / "broken.json"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"broken\.json.*" + message):
        count_rows(str(path))


def test_rewritten_file_is_indexed_again(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("[1, 2]")
    assert count_rows(str(path)) == 2
    path.write_text("[1, 2, 3, 4]")
    os.utime(path, ns=(1, 1))
    assert count_rows(str(path)) == 4


def test_only_the_bytes_of_the_range_are_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(["1", "2", "3"]))
    assert count_rows(str(path)) == 3
    status = os.stat(path)
    # The same length and time, so that the index holds, but other bytes outside the range.
    path.write_bytes(b"\xff\n2\n\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert list(read_rows(str(path), 1, 2)) == [b"2\n"]


def test_shards_of_a_pattern(tmp_path, turns, key):
    (tmp_path / "b").mkdir()
    for name in ("a.json", "b/a.json"):
        entry = {"image": "p.png", "conversations": turns("Hi?", name)}
        (tmp_path / name).write_text(json.dumps([entry]))
    source = LlavaJsonSource(path=str(tmp_path / "**" / "*.json"))
    shards = source.shards()
    assert [shard.name for shard in shards] == ["a.json", "b/a.json"]
    for shard in shards:
        (row,) = source.rows(shard, 0, source.length(shard))
        sample = source.parse(row, key)
        assert sample.parts[-1].text == shard.name
        # Pictures lie beside the file, unless the recipe says otherwise.
        assert sample.parts[0].ref.root == str((tmp_path / shard.name).parent)
    elsewhere = LlavaJsonSource(path=str(tmp_path / "a.json"), images="/pictures")
    (row,) = elsewhere.rows(elsewhere.shards()[0], 0, 1)
    assert elsewhere.parse(row, key).parts[0].ref.root == "/pictures"


def test_faulty_patterns(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.json"):
        LlavaJsonSource(path=str(tmp_path / "*.json")).shards()
    with pytest.raises(FileNotFoundError, match="it is a folder"):
        LlavaJsonSource(path=str(tmp_path)).shards()
    (tmp_path / "a.txt").write_text("[]")
    with pytest.raises(ValueError, match=r"a\.txt is no \.json or \.jsonl file"):
        LlavaJsonSource(path=str(tmp_path / "a.txt")).shards()
