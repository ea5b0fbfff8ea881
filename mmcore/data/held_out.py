"""Which rows are never trained on: a share of every source that the rows' keys alone decide."""

from __future__ import annotations

import attrs

from mmcore.data.stable_hash import stable_hash
from mmcore.interfaces import SampleKey

HELD_OUT = "held_out"
"""The count of rows that were drawn and passed over; with ``/LABEL`` behind it, of a source."""


@attrs.frozen
class HeldOut:
    """The rows that validation keeps for itself.

    A row is held out or not for ever: neither seed, stage, lanes nor ranks have a say, and a
    second source of a name (``name#2``) holds out the same rows as the first.

    Attributes:
        share: of all rows, 0 (none) to below 1.
    """

    share: float = 0.0

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"the held-out share is {self.share}, wanted 0 to below 1")

    def holds(self, key: SampleKey) -> bool:
        """Whether the row of this key is held out; all pieces of a row are, or none."""
        if not self.share:
            return False
        source = key.source.partition("#")[0]
        return stable_hash("held-out", source, key.shard, key.row) < self.share * 2**64
