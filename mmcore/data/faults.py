"""What ends a run on the data side, as opposed to a rejection, which costs one sample."""

from __future__ import annotations


class DataFault(RuntimeError):
    """A shard that cannot be read, or code that failed on a row; the message says where."""


class EmptySource(ValueError):
    """A source whose shards hold no rows at all."""
