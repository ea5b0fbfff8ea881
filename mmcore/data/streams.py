"""Lanes in turn, read ahead by a thread (torchdata nodes) or by worker processes (torch)."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torchdata.nodes import BaseNode, Prefetcher

from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.lane_state import LaneSettings, LaneState
from mmcore.data.lanes import Lane, LanePack, RejectedRow
from mmcore.data.reader import SourceReader
from mmcore.interfaces import PackedBatch, Segment, SourceSpec


@attrs.frozen
class LaneSet:
    """Some lanes of a stage and where they stand; all that a worker has to be told.

    Attributes:
        lanes: their numbers.
        sources: label and spec of every source.
        settings: what all lanes have in common.
        states: of the lanes that do not begin at the beginning.
    """

    lanes: Sequence[int]
    sources: Sequence[tuple[str, SourceSpec]]
    settings: LaneSettings
    states: Mapping[int, LaneState]

    def open(self) -> list[Lane]:
        """The lanes, on readers of their own that they share."""
        readers = [SourceReader(label, spec) for label, spec in self.sources]
        return [
            Lane(number, readers, self.settings, self.states.get(number)) for number in self.lanes
        ]


class LaneRounds(BaseNode[LanePack | Exception]):  # type: ignore[misc]  # torchdata is untyped
    """A pack of every lane in turn. A data fault is handed out as the last item, so that it
    arrives whole, without the traceback text that a thread or process would wrap around it."""

    def __init__(self, lanes: LaneSet) -> None:
        super().__init__()
        self._lanes, self._turn, self._failed = lanes, 0, False

    def reset(self, initial_state: Mapping[str, LaneState] | None = None) -> None:
        super().reset(initial_state)
        states = {int(lane): state for lane, state in (initial_state or {}).items()}
        self._turn, self._failed = 0, False
        self._opened = attrs.evolve(self._lanes, states={**self._lanes.states, **states}).open()

    def next(self) -> LanePack | Exception:
        if self._failed:
            raise StopIteration
        lane = self._opened[self._turn]
        try:
            pack = lane.next()
        except (DataFault, EmptySource) as error:
            self._failed = True
            return error
        self._turn = (self._turn + 1) % len(self._opened)
        return pack

    def get_state(self) -> dict[str, LaneState]:
        """The lanes' states; between two rounds only, for the turn is not part of it."""
        states = [lane.state() for lane in self._opened]
        return {str(state["lane"]): state for state in states}


def stream(lanes: LaneSet, *, workers: int, ahead: int) -> Iterator[LanePack | Exception]:
    """A pack of every lane in turn, for ever; a data fault comes as the last item.

    Args:
        lanes: at least one.
        workers: processes; 0 means a thread. Lowered to a divisor of the number of lanes.
        ahead: how many packs are made before they are asked for.
    """
    if workers == 0:
        return _by_thread(lanes, ahead)
    workers = max(n for n in range(1, workers + 1) if len(lanes.lanes) % n == 0)
    return _by_processes(lanes, workers, ahead)


def _by_thread(lanes: LaneSet, ahead: int) -> Iterator[LanePack | Exception]:
    # No snapshots: every pack carries its lane's state.
    yield from Prefetcher(LaneRounds(lanes), prefetch_factor=ahead, snapshot_frequency=0)


def _by_processes(lanes: LaneSet, workers: int, ahead: int) -> Iterator[LanePack | Exception]:
    loader: DataLoader[_Parcel | Exception] = DataLoader(
        _Worker(lanes),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        prefetch_factor=-(-ahead // workers),
        # A forked child would inherit the locks of this process's threads, CUDA's among them.
        multiprocessing_context="spawn",
        # Its own, lest the number of workers change what training draws from the global one.
        generator=torch.Generator(),
    )
    try:
        for item in loader:
            yield item.unpack() if isinstance(item, _Parcel) else item
    except RuntimeError as error:
        raise DataFault(f"a data worker failed: {error}") from error


class _Worker(IterableDataset["_Parcel | Exception"]):
    """Worker w of n gives packs of lanes w, w + n, ...; torch takes one item of every worker in
    turn, which puts the lanes back in order."""

    def __init__(self, lanes: LaneSet) -> None:
        self._lanes = lanes

    def __iter__(self) -> Iterator[_Parcel | Exception]:
        info = get_worker_info()
        assert info is not None, "made for worker processes only"
        mine = self._lanes.lanes[info.id :: info.num_workers]
        for item in LaneRounds(attrs.evolve(self._lanes, lanes=mine)):
            if isinstance(item, LanePack):
                yield _Parcel.of(item)
            else:
                # A cause does not survive the way to another process; its text does.
                item.add_note("".join(traceback.format_exception(item)))
                yield item


@attrs.frozen
class _Parcel:
    """A pack with arrays for tensors. Tensors would travel through /dev/shm, which containers
    often keep too small for pictures; arrays go through the pipe."""

    arrays: Mapping[str, NDArray[np.generic]]
    host: tuple[tuple[int, ...], tuple[Segment, ...], int]
    rejected: tuple[RejectedRow, ...]
    counts: Mapping[str, float]
    state: LaneState

    @classmethod
    def of(cls, pack: LanePack) -> _Parcel:
        batch = pack.batch
        values = {one.name: getattr(batch, one.name) for one in attrs.fields(PackedBatch)}
        arrays = {k: v.numpy() for k, v in values.items() if isinstance(v, torch.Tensor)}
        host = batch.lengths, batch.segments, batch.lane
        return cls(arrays, host, pack.rejected, pack.counts, pack.state)

    def unpack(self) -> LanePack:
        lengths, segments, lane = self.host
        tensors = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        batch = PackedBatch(lengths=lengths, segments=segments, lane=lane, **tensors)
        return LanePack(batch, self.rejected, self.counts, self.state)


def _unchanged(item: Any) -> Any:
    """Keeps torch from turning arrays into tensors inside the worker."""
    return item
