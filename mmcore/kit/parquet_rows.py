"""Rows of parquet files, without reading the row groups and columns that are not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.kit.arrow_values import plain_values
from mmcore.kit.parquet_files import opened

if TYPE_CHECKING:
    from mmcore.interfaces import Row

ROWS_AT_ONCE: Final = 1024
"""Most rows decoded at a time."""

BYTES_AT_ONCE: Final = 1024 * 1024
"""What is decoded at a time where rows are large, by the average row of their row group: rows may
carry whole pictures, and a visit of a shard takes few of them."""


def count_rows(path: str) -> int:
    """Number of rows, from the footer.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    with opened(path) as file:
        return int(file.metadata.num_rows)


def column_names(path: str) -> list[str]:
    """Names of the columns, from the footer.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    with opened(path) as file:
        return list(file.schema_arrow.names)


def column_types(path: str) -> dict[str, pa.DataType]:
    """Names and types of the columns, from the footer.

    Raises:
        ValueError: the file is no parquet file, or was cut short.
    """
    with opened(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def read_rows(path: str, columns: Sequence[str], start: int, stop: int) -> Iterator[Row]:
    """Rows ``start`` to ``stop`` (excluded) of some columns; strings as their undecoded bytes.

    Raises:
        ValueError: the file is no parquet file, or damaged, or lacks a column.
    """
    with opened(path) as file:
        _check_columns(file, path, columns)
        first = 0
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            if first < stop and start < last:
                yield from _read_group(file, group, columns, start - first, stop - first)
            first = last


def _check_columns(file: pq.ParquetFile, path: str, columns: Sequence[str]) -> None:
    present = file.schema_arrow.names
    missing = [repr(column) for column in columns if column not in present]
    if missing:
        raise ValueError(
            f"{path} has no column {' and no column '.join(missing)}; it has: {', '.join(present)}"
        )


def _read_group(
    file: pq.ParquetFile, group: int, columns: Sequence[str], start: int, stop: int
) -> Iterator[Row]:
    """Rows of one row group; ``start`` and ``stop`` are counted in it and may lie outside."""
    first = 0
    batches = file.iter_batches(
        batch_size=_rows_at_once(file, group),
        row_groups=[group],
        columns=list(columns),
        use_threads=False,
    )
    for batch in batches:
        last = first + batch.num_rows
        begin, end = max(start, first), min(stop, last)
        if begin < end:
            part = batch.slice(begin - first, end - begin)
            arrays = {name: plain_values(part.column(name)) for name in columns}
            for number in range(end - begin):
                yield {name: values[number] for name, values in arrays.items()}
        if last >= stop:
            return
        first = last


def _rows_at_once(file: pq.ParquetFile, group: int) -> int:
    about = file.metadata.row_group(group)
    average = about.total_byte_size / max(about.num_rows, 1)
    return max(1, min(ROWS_AT_ONCE, int(BYTES_AT_ONCE / max(average, 1))))
