"""Lanes in turn, read ahead by a thread of this process or by worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torchdata.nodes import Prefetcher

from mmcore.data.lanes import LanePack
from mmcore.data.rounds import LaneRounds, LaneSet
from mmcore.data.workers import WorkerPool, place_of
from mmcore.interfaces import SampleKey


class PackStream(Protocol):
    """A pack of every lane in turn, for ever; a data fault comes as the last item."""

    def __next__(self) -> LanePack | Exception: ...

    def close(self) -> None:
        """Stop reading ahead."""

    def busy(self) -> str:
        """What is being worked on, for whoever wonders why nothing comes."""


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
        self._place = _Place()
        # No snapshots: every pack carries its lane's state.
        rounds = LaneRounds(lanes, note=self._place.note)
        node = Prefetcher(rounds, prefetch_factor=ahead, snapshot_frequency=0)
        self._packs: Iterator[LanePack | Exception] | None = iter(node)

    def __next__(self) -> LanePack | Exception:
        assert self._packs is not None, "this stream is closed"
        return next(self._packs)

    def busy(self) -> str:
        return f"the reading thread is {place_of(self._place.latest)}"

    def close(self) -> None:
        self._packs = None  # torchdata stops its thread when nothing refers to it


class _Place:
    """Where the reading thread is; apart from its owner, whom the thread must not keep alive."""

    latest: SampleKey | str = ""

    def note(self, place: SampleKey | str) -> None:
        self.latest = place
