"""How many rows a source has, for budgets in epochs."""

from __future__ import annotations

from mmcore.data.reader import SourceReader
from mmcore.interfaces import SourceSpec


def count_rows(spec: SourceSpec) -> int:
    """Rows of all shards of a source; reads one footer or index for each shard.

    Raises:
        DataFault: the source cannot be opened, or a shard not be read.
    """
    reader = SourceReader(spec.name, spec)
    return sum(reader.length(shard) for shard in reader.shards)
