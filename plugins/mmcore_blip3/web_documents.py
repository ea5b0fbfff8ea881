"""The sources ``obelics`` and ``mint1t-html``: web pages, their texts and pictures in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore_blip3.files import find_shards
from mmcore_blip3.interleaved import parts_of, slots_of
from mmcore_blip3.parquet_rows import column_names, count_rows, read_rows
from mmcore_blip3.row_values import spoken

TEXTS, IMAGES, DATA = "texts", "images", "data"
"""Two columns, and the row's key for the pictures' bytes, whatever their column is called."""

COLUMNS: Final = (TEXTS, IMAGES)


class WebDocuments:
    """Reads prepared parquet files: the published columns, and the pictures' bytes beside them.

    Of a row, ``texts`` and ``images`` have equally many slots, each filled in one of the two. The
    list of bytes has the same slots: null for a text, and for a picture whose link was dead,
    which is left out of the document. Other lists, such as MINT-1T's hashes, are not aligned and
    not read.

    Args:
        path: the files, as a path or a glob pattern.
        bytes_column: column of the encoded pictures.
        min_images: a document with fewer is rejected.
        separator: between two texts in a row.
    """

    def __init__(self, *, path: str, bytes_column: str, min_images: int, separator: str) -> None:
        self.path = path
        self.bytes_column = bytes_column
        self.min_images = min_images
        self.separator = separator

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        self._check_columns(shard)
        for row in read_rows(shard.path, [*COLUMNS, self.bytes_column], start, stop):
            yield {TEXTS: row[TEXTS], IMAGES: row[IMAGES], DATA: row[self.bytes_column]}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        slots = slots_of(row, TEXTS, IMAGES)
        data = row[DATA]
        if not isinstance(data, list) or len(data) != len(slots):
            found = f"{len(data)} slots" if isinstance(data, list) else repr(data)
            raise Rejection(
                "malformed-row", f"{self.bytes_column} has {found}, wanted {len(slots)} as texts"
            )
        read = [
            spoken(f"{TEXTS}[{number}]", text)
            if text is not None
            else self._picture(number, named, data[number])
            for number, (text, named) in enumerate(slots)
        ]
        parts = parts_of(read, separator=self.separator, min_images=self.min_images)
        return Sample(key=key, parts=parts)

    def _picture(self, number: int, named: object, data: object) -> str | ImageRef | None:
        if named is None:
            return ""  # an empty slot
        if data is None:
            return None
        if not isinstance(data, bytes):
            name = f"{self.bytes_column}[{number}]"
            raise Rejection("malformed-row", f"{name} is {data!r}, wanted bytes")
        return ImageRef(data=data)

    def _check_columns(self, shard: Shard) -> None:
        present = column_names(shard.path)
        listing = ", ".join(present)
        for column in COLUMNS:
            if column not in present:
                raise ValueError(f"{shard.path} has no column {column!r}; it has: {listing}")
        if self.bytes_column not in present:
            raise ValueError(
                f"{shard.path} has no column {self.bytes_column!r}; wanted the same rows with the "
                f"pictures' bytes beside them, for training fetches nothing; it has: {listing}"
            )
