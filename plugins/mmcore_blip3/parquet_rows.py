"""Rows of parquet files, without reading the row groups and columns that are not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from mmcore.interfaces import Row

ROWS_AT_ONCE: Final = 64
"""Rows decoded at a time: rows may carry whole pictures."""


def count_rows(path: str) -> int:
    """Number of rows, from the footer.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def column_names(path: str) -> list[str]:
    """Names of the columns, from the footer.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    with _opened(path) as file:
        return list(file.schema_arrow.names)


def read_rows(path: str, columns: Sequence[str], start: int, stop: int) -> Iterator[Row]:
    """Rows ``start`` to ``stop`` (excluded) of some columns; strings as their undecoded bytes.

    Raises:
        ValueError: the file is no parquet file, or damaged.
    """
    with _opened(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if first < stop and start < last:
                yield from _read_group(file, group, columns, start - first, stop - first)
            first = last


def _read_group(
    file: pq.ParquetFile, group: int, columns: Sequence[str], start: int, stop: int
) -> Iterator[Row]:
    """Rows of one row group; ``start`` and ``stop`` are counted in it and may lie outside."""
    first = 0
    batches = file.iter_batches(
        batch_size=ROWS_AT_ONCE, row_groups=[group], columns=list(columns), use_threads=False
    )
    for batch in batches:
        last = first + batch.num_rows
        begin, end = max(start, first), min(stop, last)
        if begin < end:
            part = batch.slice(begin - first, end - begin)
            arrays = {name: _values(part, name) for name in columns}
            for number in range(end - begin):
                yield {name: values[number] for name, values in arrays.items()}
        if last >= stop:
            return
        first = last


def _values(batch: pa.RecordBatch, name: str) -> list[object]:
    """A column's values; strings as bytes, so that one malformed string spoils one row only."""
    column = batch.column(name)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return list(column.cast(pa.large_binary()).to_pylist())
    return list(column.to_pylist())


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        # A fault of the disk has a number; damaged pages are an OSError without one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} cannot be read as parquet: {error}") from error
