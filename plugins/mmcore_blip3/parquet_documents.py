"""The sources ``obelics`` and ``mint1t-html``: web pages in parquet, with the pictures' bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit.files import find_shards
from mmcore.kit.parquet_rows import column_names, count_rows, read_rows
from mmcore_blip3.interleaved import Layout, read_slots

TEXTS: Final = "texts"
"""The column of the paragraphs, and the row's key for them."""

PICTURES: Final = "pictures"
"""The row's key for the encoded pictures, whatever the column is called."""


class ParquetDocuments:
    """Reads parquet files of documents. A row holds two lists, paragraphs and encoded pictures.

    Args:
        path: the files, as a path or a glob pattern.
        bytes_column: column of the pictures, slot by slot beside the texts.
        layout: how slots become parts.
        prepare: the command that makes such files of the published ones.
    """

    def __init__(self, *, path: str, bytes_column: str, layout: Layout, prepare: str) -> None:
        self.path = path
        self.bytes_column = bytes_column
        self.layout = layout
        self.prepare = prepare

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        self._check_columns(shard)
        for row in read_rows(shard.path, [TEXTS, self.bytes_column], start, stop):
            yield {TEXTS: row[TEXTS], PICTURES: row[self.bytes_column]}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        slots = read_slots(row[TEXTS], row[PICTURES], _picture)
        return Sample(key=key, parts=self.layout.parts(slots))

    def _check_columns(self, shard: Shard) -> None:
        present = column_names(shard.path)
        listing = ", ".join(present)
        if TEXTS not in present:
            raise ValueError(f"{shard.path} has no column {TEXTS!r}; it has: {listing}")
        if self.bytes_column not in present:
            raise ValueError(
                f"{shard.path} has no column {self.bytes_column!r}; wanted the same rows with the "
                "pictures' bytes beside them, a list with null where a slot is text or its link "
                f"was dead, for training fetches nothing: `{self.prepare}`; it has: {listing}"
            )


def _picture(_number: int, data: object) -> ImageRef | None:
    if not isinstance(data, bytes):
        raise Rejection("malformed-row", f"a picture is {data!r}, wanted bytes")
    return ImageRef(data=data) if data else None
