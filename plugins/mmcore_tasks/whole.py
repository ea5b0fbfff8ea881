"""Read a source from its first row to its last, as evaluation sets are: without a gap."""

from __future__ import annotations

from collections.abc import Iterator

from mmcore.interfaces import Rejection, Sample, SampleKey, Source


def whole(source: Source, name: str) -> Iterator[Sample]:
    """Every sample of the source in its own order, ``name`` being its label in their keys.

    Raises:
        ValueError: a row cannot be used; names its key.
    """
    for shard in source.shards():
        for number, row in enumerate(source.rows(shard, 0, source.length(shard))):
            key = SampleKey(name, shard.name, number)
            try:
                yield source.parse(row, key)
            except Rejection as rejection:
                raise ValueError(
                    f"{key} cannot be used ({rejection}); an evaluation set must be whole"
                ) from rejection
