"""A source of which only the first rows are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcore.interfaces import Row, Sample, SampleKey, Shard, Source


class FirstRows:
    """The first rows of a source, in the order of its shards; no later shard is looked into.

    Args:
        source: the whole of it.
        limit: how many rows, at least 1; of a smaller source, all.
    """

    def __init__(self, source: Source, limit: int) -> None:
        self._source, self._limit = source, limit
        self._lengths: dict[str, int] = {}

    def shards(self) -> Sequence[Shard]:
        kept, left = [], self._limit
        for shard in self._source.shards():
            if left == 0:
                break
            length = min(self._source.length(shard), left)
            self._lengths[shard.name] = length
            kept.append(shard)
            left -= length
        return kept

    def length(self, shard: Shard) -> int:
        return self._lengths[shard.name]

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        return self._source.rows(shard, start, stop)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        return self._source.parse(row, key)
