"""How far a stage got through its data, where its budget is in epochs."""

from __future__ import annotations

from collections.abc import Mapping

from mmcore.data.reader import SourceReader
from mmcore.interfaces import SourceSpec


def count_rows(spec: SourceSpec) -> int:
    """Rows of all shards of a source; reads one footer or index for each shard.

    Raises:
        DataFault: the source cannot be opened, or a shard not be read.
    """
    reader = SourceReader(spec.name, spec)
    return sum(reader.length(shard) for shard in reader.shards)


def epochs_done(drawn: Mapping[str, float], rows: Mapping[str, int]) -> float:
    """Epochs of a stage: how often the source that got least far was gone through.

    Args:
        drawn: rows read so far of each source, over all ranks (the loader's ``drawn/LABEL``).
        rows: how many rows each source has.
    """
    return min(drawn.get(label, 0.0) / total for label, total in rows.items())
