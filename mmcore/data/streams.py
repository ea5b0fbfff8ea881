"""Lanes in turn, read ahead by a thread of this process or by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torchdata.nodes import Prefetcher

from mmcore.data.lanes import LanePack
from mmcore.data.rounds import LaneRounds, LaneSet
from mmcore.data.workers import WorkerPool


class PackStream(Protocol):
    """A pack of every lane in turn, for ever; a data fault comes as the last item."""

    def __next__(self) -> LanePack | Exception: ...

    def close(self) -> None:
        """Stop reading ahead."""


def stream(lanes: LaneSet, *, workers: int, ahead: int) -> PackStream:
    """Start to read ahead.

    Args:
        lanes: at least one.
        workers: processes; 0 means a thread.
        ahead: how many packs are made before they are asked for.
    """
    return WorkerPool(lanes, workers, ahead) if workers else _Thread(lanes, ahead)


class _Thread:
    def __init__(self, lanes: LaneSet, ahead: int) -> None:
        # No snapshots: every pack carries its lane's state.
        node = Prefetcher(LaneRounds(lanes), prefetch_factor=ahead, snapshot_frequency=0)
        self._packs: Iterator[LanePack | Exception] | None = iter(node)

    def __next__(self) -> LanePack | Exception:
        assert self._packs is not None, "this stream is closed"
        return next(self._packs)

    def close(self) -> None:
        self._packs = None  # torchdata stops its thread when nothing refers to it
