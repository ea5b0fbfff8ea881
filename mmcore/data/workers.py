"""Worker processes that make packs, each of its own lanes, and are watched over.

A worker that dies is started again where the packs that it handed over end, so that nothing is
lost or given twice; it says what it is busy with in a black box, so that its death has a place. A
row at which it dies twice is rejected. Workers end with their parent, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Final

import attrs
import torch

from mmcore.data import parcel
from mmcore.data.black_box import BlackBox
from mmcore.data.faults import DataFault, describe
from mmcore.data.lane_state import LaneState
from mmcore.data.lanes import LanePack
from mmcore.data.rounds import LaneRounds, LaneSet
from mmcore.interfaces import SampleKey

MOST_DEATHS: Final = 5
"""So many deaths of a worker that led nowhere, neither to a pack nor to a rejected row, end the
run."""

MOST_DEADLY: Final = 10
"""And so do so many rows that it died at twice, without a pack in between."""

SLOW_SECONDS: Final = 60.0
"""After so long a wait for a worker, what it is busy with is said."""

DEATHS: Final = "worker_deaths"
"""The count, beside a pack's own, of the deaths of the worker that made it."""

# A forked child would inherit the locks of this process's threads, CUDA's among them.
_CONTEXT = multiprocessing.get_context("spawn")


class WorkerPool(Iterator[LanePack | Exception]):
    """A pack of every lane in turn, for ever; a data fault comes as the last item.

    Args:
        lanes: at least one; worker w of n makes the packs of lanes w, w + n, ...
        workers: how many processes; of more than there are lanes, the rest is not started.
        ahead: how many packs wait to be asked for, over all workers; each makes one more.
    """

    def __init__(self, lanes: LaneSet, workers: int, ahead: int) -> None:
        count = min(workers, len(lanes.lanes))
        shares = [attrs.evolve(lanes, lanes=lanes.lanes[n::count]) for n in range(count)]
        each = -(-ahead // count)
        self._workers = [_Worker(number, share, each) for number, share in enumerate(shares)]
        self._lanes, self._turn = len(lanes.lanes), 0
        # Also where nobody closes the pool: it is forgotten, or this process ends.
        self._ended = Finalize(self, _close, args=(self._workers,), exitpriority=1)

    def __next__(self) -> LanePack | Exception:
        item = self._workers[self._turn % len(self._workers)].next()
        self._turn = (self._turn + 1) % self._lanes
        return item

    def close(self) -> None:
        """End the processes; what they made ahead is lost."""
        self._ended()


def _close(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.close()


class _Worker:
    """One process after another that makes the packs of some lanes, and a thread that watches."""

    def __init__(self, number: int, lanes: LaneSet, ahead: int) -> None:
        self._name, self._lanes = f"data worker {number}", lanes
        self._turn = 0  # of these lanes, whose pack is received next
        self._deaths: list[SampleKey | str] = []  # where, since they last led anywhere
        self._since_pack = 0
        self._deadly_since_pack = 0
        self._box = BlackBox(_CONTEXT)
        self._process: BaseProcess | None = None
        self._closing = threading.Event()
        self._made: queue.Queue[LanePack | Exception] = queue.Queue(max(1, ahead))
        self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)
        self._thread.start()

    def next(self) -> LanePack | Exception:
        """The next pack; waits for it, and says so if that takes long."""
        while True:
            try:
                return self._made.get(timeout=SLOW_SECONDS)
            except queue.Empty:
                busy = _place(self._box.read())
                warnings.warn(f"{self._name} gave nothing for a minute; it is {busy}", stacklevel=2)

    def close(self) -> None:
        self._closing.set()
        if self._process is not None:
            self._process.kill()
        if threading.current_thread() is self._thread:
            return  # the pool was forgotten, and found by this very thread
        while self._thread.is_alive():
            try:
                self._made.get_nowait()  # the thread may wait for room
            except queue.Empty:
                self._thread.join(0.05)

    def _watch(self) -> None:
        try:
            while not self._closing.is_set():
                fault = self._run()
                if fault is not None:
                    self._made.put(fault)
                    return
        except BaseException as error:
            # Whatever happens here has to reach the thread that waits for packs.
            fault = DataFault(f"{self._name} cannot be run: {type(error).__name__}: {error}")
            fault.__cause__ = error
            self._made.put(fault)

    def _run(self) -> Exception | None:
        """Start a process, and hand over its packs until it dies; the fault that ends the run, or
        None where another process may go on."""
        self._box.note("starting")
        receiver, sender = _CONTEXT.Pipe(duplex=False)
        turned = [*self._lanes.lanes[self._turn :], *self._lanes.lanes[: self._turn]]
        lanes = attrs.evolve(self._lanes, lanes=turned)
        process = _CONTEXT.Process(
            target=_work, args=(lanes, sender, self._box), name=self._name, daemon=True
        )
        with receiver:
            process.start()
            sender.close()
            self._process = process
            if self._closing.is_set():  # closed meanwhile, before there was a process to kill
                process.kill()
            try:
                # What it handed over comes first; and a child of its own may hold the pipe open.
                while receiver in wait([receiver, process.sentinel]):
                    item = parcel.receive(receiver)
                    if isinstance(item, Exception):
                        return item
                    self._made.put(self._received(item))
            except (EOFError, OSError):
                process.kill()  # of one that only seems dead nothing more is taken
            process.join()
        return None if self._closing.is_set() else self._died(process)

    def _received(self, pack: LanePack) -> LanePack:
        """Remember where the lane stands after this pack."""
        lane = pack.batch.lane
        states: dict[int, LaneState] = {**self._lanes.states, lane: pack.state}
        self._lanes = attrs.evolve(self._lanes, states=states)
        self._turn = (self._turn + 1) % len(self._lanes.lanes)
        deaths, self._since_pack = self._since_pack, 0
        self._deaths, self._deadly_since_pack = [], 0
        if not deaths:
            return pack
        return attrs.evolve(pack, counts={**pack.counts, DEATHS: float(deaths)})

    def _died(self, process: BaseProcess) -> Exception | None:
        where = self._box.read()
        again = isinstance(where, SampleKey) and where in self._deaths
        self._deaths.append(where)
        self._since_pack += 1
        end = f"{self._name} (process {process.pid}) {_end(process)} while it was {_place(where)}"
        if len(self._deaths) >= MOST_DEATHS:
            return DataFault(f"{end}; that is {len(self._deaths)} deaths without a pack in between")
        if again and isinstance(where, SampleKey):
            self._deadly_since_pack += 1
            if self._deadly_since_pack >= MOST_DEADLY:
                found = f"{self._deadly_since_pack} rows at which it died twice"
                return DataFault(f"{end}; that is {found}, without a pack in between")
            self._deaths = []
            self._lanes = attrs.evolve(self._lanes, deadly=self._lanes.deadly | {where})
            end += ", for the second time; the row is rejected"
        warnings.warn(f"{end}; it is started again after its last pack", stacklevel=2)
        return None


def _work(lanes: LaneSet, sender: Connection, box: BlackBox) -> None:
    """What a worker process does."""
    # A signal to the whole group is for the parent, which may still want packs while it ends.
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGUSR1", None)):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        for item in LaneRounds(lanes, note=box.note):
            if isinstance(item, Exception):
                # A cause does not survive the way to another process; its text does.
                item.add_note("".join(traceback.format_exception(item)))
            box.note("handing over a pack")
            parcel.send(sender, item)
    except BrokenPipeError:
        return  # the parent wants no more
    except Exception as error:
        # Only what nobody could catch is a death; all else is told, and costs no row.
        fault = DataFault(f"data worker: {describe(error)}")
        fault.add_note(traceback.format_exc())
        parcel.send(sender, fault)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "made for worker processes only"
    wait([parent.sentinel])
    os._exit(1)


def _end(process: BaseProcess) -> str:
    code = process.exitcode
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    hint = ", as the kernel does where memory ends" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}"


def _place(where: SampleKey | str) -> str:
    return f"at sample {where}" if isinstance(where, SampleKey) else where or "not started yet"
