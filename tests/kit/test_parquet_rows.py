"""Rows of parquet files with lists in them: undecoded strings, and bounded in bytes."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.kit import parquet_rows
from mmcore.kit.parquet_rows import read_rows


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
@pytest.mark.parametrize("text", [pa.string, pa.large_string])
def test_strings_in_lists_stay_undecoded(kind, text, write_parquet):
    values = [["é", None], None, [], ["b"]]
    path = write_parquet({"texts": pa.array(values, kind(text()))})
    read = [row["texts"] for row in read_rows(str(path), ["texts"], 0, 4)]
    assert read == [["é".encode(), None], None, [], [b"b"]]


def test_bad_utf8_in_a_list_is_handed_on(write_parquet):
    raw = pa.array([[b"\xff", None], [b"good"]], pa.list_(pa.binary()))
    # Arrow does not look into the strings that it writes.
    column = pa.ListArray.from_arrays(raw.offsets, raw.values.view(pa.string()))
    path = write_parquet({"texts": column})
    assert list(read_rows(str(path), ["texts"], 0, 2)) == [
        {"texts": [b"\xff", None]},
        {"texts": [b"good"]},
    ]


def test_large_rows_are_decoded_few_at_a_time(write_parquet, monkeypatch):
    monkeypatch.setattr(parquet_rows, "BYTES_AT_ONCE", 10_000)
    # Bytes that neither a dictionary nor compression makes small.
    data = [bytes((row * 7 + n * n // 3) % 256 for n in range(3_000)) for row in range(9)]
    path = write_parquet(
        {"pictures": [[one] for one in data]}, compression="none", use_dictionary=False
    )
    sizes = []
    whole = pq.ParquetFile.iter_batches

    def watched(self, **options):
        for batch in whole(self, **options):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    rows = list(read_rows(str(path), ["pictures"], 1, 9))
    assert [row["pictures"] for row in rows] == [[one] for one in data[1:]]
    assert sum(sizes) == 9
    assert set(sizes[:-1]) <= {2, 3}  # by what the footer says of the group, headers included


def test_strings_in_structs_and_dictionaries_stay_undecoded(write_parquet):
    turn = pa.struct([("who", pa.string()), ("picture", pa.binary())])
    turns = pa.array([[{"who": "é", "picture": b"p"}], None], pa.list_(turn))
    path = write_parquet({"turns": turns, "kind": pa.array(["a", None]).dictionary_encode()})
    assert list(read_rows(str(path), ["turns", "kind"], 0, 2)) == [
        {"turns": [{"who": "é".encode(), "picture": b"p"}], "kind": b"a"},
        {"turns": None, "kind": None},
    ]


def test_columns_of_nothing_but_nulls(write_parquet):
    path = write_parquet({"typed": pa.nulls(3, pa.string()), "untyped": pa.nulls(3)})
    rows = list(read_rows(str(path), ["typed", "untyped"], 1, 3))
    assert rows == [{"typed": None, "untyped": None}] * 2
