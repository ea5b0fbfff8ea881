"""Writes a part of published rows, their pictures beside them, in row groups of bounded size."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mmcore.downloading.addresses import UNUSABLE, Addresses
from mmcore.downloading.answers import Answers
from mmcore.downloading.causes import NO_ADDRESS, NO_PICTURE, TOO_LARGE
from mmcore.downloading.counts import Counts

GROUP_BYTES: Final = 16_000_000
"""Of a row group, columns and pictures together; a larger row has a group of its own."""

_LONGEST_SAID: Final = 200
"""Characters that are kept of a message."""

_VALUE_BYTES: Final = 8
"""What parquet adds to a value: its length, and the levels of lists and nulls."""


def prepared_schema(published: pa.Schema, bytes_column: str, *, listed: bool) -> pa.Schema:
    """The published columns and that of the pictures."""
    kind = pa.list_(pa.binary()) if listed else pa.binary()
    metadata = dict(published.metadata or {})
    metadata.pop(b"huggingface", None)  # lists the columns, and would lack ours
    return published.append(pa.field(bytes_column, kind)).with_metadata(metadata)


class PartWriter:
    """One prepared part under construction.

    Args:
        path: of the file; it is whole when ``finish`` has returned.
        table: the published rows.
        bytes_column: name of the new column.
        addresses: what the rows' slots want.
        answers: what was fetched.
        max_bytes: larger pictures are left out.
    """

    def __init__(
        self,
        path: Path,
        table: pa.Table,
        bytes_column: str,
        addresses: Addresses,
        answers: Answers,
        max_bytes: int,
    ) -> None:
        self._path, self._table = path, table.combine_chunks()
        self._addresses, self._answers = addresses, answers
        self._max_bytes = max_bytes
        self._schema = prepared_schema(table.schema, bytes_column, listed=addresses.listed)
        self._alive = self._bytes = 0
        self._dead: Counter[str] = Counter()
        self._said: dict[str, str] = {}
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            use_dictionary=False,  # pictures do not repeat
            write_statistics=False,
            write_batch_size=16,  # pages are closed between batches: else one holds the group
        )

    def write_rows(self) -> Counts:
        """Write all rows, in their order, and count."""
        first, size = 0, 0
        held: list[list[bytes | None] | None] = []
        for row, slots in enumerate(self._addresses.slots):
            pictures = None if slots is None else [self._picture(slot) for slot in slots]
            bytes_of_row = self._row_bytes(row, pictures or [])
            if held and size + bytes_of_row > GROUP_BYTES:
                self._write_group(first, held)
                first, size, held = row, 0, []
            held.append(pictures)
            size += bytes_of_row
        if held:
            self._write_group(first, held)
        return Counts(
            rows=self._table.num_rows,
            links=self._alive + sum(self._dead.values()),
            alive=self._alive,
            picture_bytes=self._bytes,
            dead=dict(self._dead.most_common()),
            said=self._said,
        )

    def finish(self, metadata: dict[bytes, bytes]) -> None:
        """End the file, with a few words in its footer, and see it to the disk."""
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def _write_group(self, first: int, pictures: Sequence[Sequence[bytes | None] | None]) -> None:
        field = self._schema.field(len(self._schema) - 1)
        listed = self._addresses.listed
        values = list(pictures) if listed else [one and one[0] for one in pictures]
        rows = self._table.slice(first, len(pictures))
        group = rows.append_column(field, pa.array(values, field.type))
        group = group.replace_schema_metadata(self._schema.metadata)
        self._writer.write_table(group, row_group_size=len(pictures))

    def _row_bytes(self, row: int, pictures: Sequence[bytes | None]) -> int:
        columns = self._table.slice(row, 1)
        values = len(pictures) + columns.num_columns
        fetched = sum(map(len, filter(None, pictures)))
        return int(columns.nbytes + fetched + _VALUE_BYTES * values)

    def _picture(self, slot: int | None) -> bytes | None:
        """The picture of a slot; None where there is none, which is counted if it has a link."""
        if slot is None:
            return None
        data = None if slot == UNUSABLE else self._answers.picture(slot)
        if slot == UNUSABLE:
            self._count_dead(NO_ADDRESS)
        elif data is None:
            self._count_dead(*self._answers.cause(slot))
        elif len(data) > self._max_bytes:
            self._count_dead(TOO_LARGE, f"{len(data):,} bytes")
        elif fault := fault_of(data):
            self._count_dead(NO_PICTURE, fault)
        else:
            self._alive += 1
            self._bytes += len(data)
            return data
        return None

    def _count_dead(self, cause: str, said: str = "") -> None:
        self._dead[cause] += 1
        if said:
            self._said.setdefault(cause, said[:_LONGEST_SAID])


def fault_of(data: bytes) -> str:
    """Why the bytes are no picture, by their header; empty where they are one."""
    try:
        with Image.open(io.BytesIO(data)):
            return ""
    except Image.DecompressionBombError:
        return ""  # a picture; whether it is too large for training is decided there
    except Exception:  # Pillow's readers raise nearly anything on damaged headers
        return f"it begins with {data[:16]!r}" if data else "no bytes"
