"""The source ``parquet``: rows of parquet files whose columns the recipe names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcore.interfaces import Row, Sample, SampleKey, Shard
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.parquet_rows import column_types, count_rows, read_rows
from mmcore_sources.columns import Columns
from mmcore_sources.samples import sample_of


class ParquetSource:
    """Reads parquet files.

    Args:
        path: the files, as a path or a glob pattern.
        columns: what is read of a row.
        images: folder of pictures that are named; empty for the folder of the file.
    """

    def __init__(self, *, path: str, columns: Columns, images: str = "") -> None:
        self.path, self.columns, self.images = path, columns, images

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        types = column_types(shard.path)
        self.columns.check(shard.path, types)
        root = pictures_root(self.images, shard)
        for values in read_rows(shard.path, self.columns.wanted, start, stop):
            yield self.columns.row(values, types, root)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        return sample_of(row, key)
