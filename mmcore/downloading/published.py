"""Published files of a dataset, read in parts of so many rows: parquet, TSV, or JSON lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import IO, Final

import attrs
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import Links, Shard

ROWS_AT_ONCE: Final = 1024
"""Rows decoded at a time; parts are put together of these."""


@attrs.frozen
class Part:
    """Neighbouring rows of a published file.

    Attributes:
        number: of the part in its file, from 0.
        table: the rows, with all published columns.
        last: whether the file ends with it.
    """

    number: int
    table: pa.Table
    last: bool


def suffixes(links: Links) -> tuple[str, ...]:
    """The forms in which a dataset of these links is published."""
    return (".parquet", *([".tsv"] if links.tsv else []), *([".json"] if links.json else []))


def check_suffixes(shards: Sequence[Shard], links: Links) -> None:
    """
    Raises:
        ValueError: a file has another form.
    """
    wanted = suffixes(links)
    for shard in shards:
        if PurePosixPath(shard.name).suffix not in wanted:
            raise ValueError(f"{shard.path}: wanted published files in {' or '.join(wanted)}")


def size_of(shard: Shard) -> int:
    """Bytes of the file."""
    system, path = fsspec.core.url_to_fs(shard.path)
    return int(system.size(path))


def count_rows(shard: Shard) -> int | None:
    """Number of rows, where it is known without reading them all.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    if not shard.name.endswith(".parquet"):
        return None
    with fsspec.open(shard.path, "rb") as file:
        return int(_parquet(shard, file).metadata.num_rows)


def read_parts(shard: Shard, links: Links, rows: int, start: int) -> Iterator[Part]:
    """The parts of a file from number ``start`` on; a file without rows has one, without rows.

    Args:
        shard: the file.
        links: what its columns are called.
        rows: of a part; the last one may have fewer.
        start: number of the first part that is wanted.

    Raises:
        ValueError: the file is damaged, or has not the column of the links.
    """
    with fsspec.open(shard.path, "rb") as file:
        schema, batches = _opened(shard, file, links, rows * start)
        if links.column not in schema.names:
            raise ValueError(
                f"{shard.path} has no column {links.column!r} of links; it has: "
                f"{', '.join(schema.names)}; --links COLUMN names another"
            )
        if links.bytes_column in schema.names:
            raise ValueError(
                f"{shard.path} has a column {links.bytes_column!r} already: its pictures are there"
            )
        tables = _regrouped(schema, batches, rows)
        table = next(tables, schema.empty_table())
        for number, following in enumerate(tables, start):
            yield Part(number, table, last=False)
            table, start = following, number + 1
        yield Part(start, table, last=True)


def _regrouped(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], rows: int
) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + batch.num_rows >= rows:
            held.append(batch.slice(0, rows - count))
            batch = batch.slice(rows - count)
            yield pa.Table.from_batches(held, schema)
            held, count = [], 0
        if batch.num_rows:
            held.append(batch)
            count += batch.num_rows
    if held:
        yield pa.Table.from_batches(held, schema)


def _opened(
    shard: Shard, file: IO[bytes], links: Links, skip: int
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema, and the rows after the first ``skip``."""
    if shard.name.endswith(".parquet"):
        parquet = _parquet(shard, file)
        return parquet.schema_arrow, _parquet_batches(shard, parquet, skip)
    if shard.name.endswith(".tsv"):
        names, lines = _tsv_lines(file, links.tsv)
        rows: Iterator[Sequence[bytes | None]] = islice(lines, skip, None)
    else:
        names, rows = _json_rows(shard, file, links, skip)
    schema = pa.schema({name: pa.string() for name in names})
    return schema, _batches_of(schema, rows)


def _parquet(shard: Shard, file: IO[bytes]) -> pq.ParquetFile:
    try:
        # Buffering ahead would hold all row groups that are still to be read.
        return pq.ParquetFile(file, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{shard.path} cannot be read as parquet: {error}") from error


def _parquet_batches(shard: Shard, parquet: pq.ParquetFile, skip: int) -> Iterator[pa.RecordBatch]:
    groups = list(range(parquet.num_row_groups))
    while groups and skip >= parquet.metadata.row_group(groups[0]).num_rows:
        skip -= parquet.metadata.row_group(groups.pop(0)).num_rows
    try:
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups):
            yield batch.slice(min(skip, batch.num_rows))
            skip = max(0, skip - batch.num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{shard.path} cannot be read as parquet: {error}") from error


def _tsv_lines(
    file: IO[bytes], columns: Sequence[str]
) -> tuple[Sequence[str], Iterator[Sequence[bytes | None]]]:
    """Names and lines. A first line of the very names is a header, and its order counts."""
    first = file.readline()
    names = first.rstrip(b"\r\n").split(b"\t")
    if sorted(names) == sorted(name.encode() for name in columns):
        return [name.decode() for name in names], (_split(line, len(columns)) for line in file)

    def lines() -> Iterator[Sequence[bytes | None]]:
        if first:
            yield _split(first, len(columns))
        yield from (_split(line, len(columns)) for line in file)

    return columns, lines()


def _split(line: bytes, columns: int) -> Sequence[bytes | None]:
    """The line's values; nulls where there are not as many as columns, so that no row is lost."""
    values = line.rstrip(b"\r\n").split(b"\t")
    return values if len(values) == columns else [None] * columns


def _json_rows(
    shard: Shard, file: IO[bytes], links: Links, skip: int
) -> tuple[Sequence[str], Iterator[Sequence[bytes | None]]]:
    try:
        content = json.load(file)
    except ValueError as error:
        raise ValueError(f"{shard.path} cannot be read as JSON: {error}") from error
    found = [content.get(key) if isinstance(content, dict) else None for key in links.json]
    lists = [one for one in found if isinstance(one, list)]
    if len(lists) < len(found) or len(set(map(len, lists))) > 1:
        keys = ", ".join(map(repr, links.json))
        raise ValueError(f"{shard.path}: wanted an object with the lists {keys}, of one length")
    rows = zip(*(one[skip:] for one in lists), strict=True)
    return list(links.json.values()), (list(map(_encoded, row)) for row in rows)


def _encoded(value: object) -> bytes | None:
    # A lone surrogate is legal in JSON, and no text.
    return value.encode(errors="replace") if isinstance(value, str) else None


def _batches_of(
    schema: pa.Schema, rows: Iterator[Sequence[bytes | None]]
) -> Iterator[pa.RecordBatch]:
    while held := list(islice(rows, ROWS_AT_ONCE)):
        columns = zip(*held, strict=True)
        # Seen as strings, not cast: text that is not UTF-8 spoils its own row only.
        arrays = [pa.array(column, pa.binary()).view(pa.string()) for column in columns]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
