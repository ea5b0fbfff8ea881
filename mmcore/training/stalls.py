"""A watchdog: a process that no longer moves says where it stands, and ends all ranks.

Whatever takes time says what it is doing (``note``). Where nothing has been said for too long, a
thread writes this rank's position and the stacks of all its threads to the run folder and ends the
process. The other ranks, which wait in a collective for it, find that file and do the same.

What hangs may be the disk under the run folder. So the thread that counts touches no file, and
once it has decided, the process ends whether or not its last words can be written.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmcore.interfaces import World
from mmcore.training.ranks import PATIENCE, barrier

FOLDER = "stalls"
"""Where in the run folder the ranks' last words are."""

STALLED = 75
"""Exit code of a rank that was ended so: a temporary failure, try again."""

FIRST = 3.0
"""How many times as long a stage's first step may take: it compiles and allocates."""

GRACE_SECONDS = 10.0
"""How long a rank waits for the others' words before it ends; and how long, at the most, it takes
to write its own."""

_active: Watch | None = None


def note(doing: str, step: int | None = None) -> None:
    """Say what this process does from here on; where nobody watches, nothing is heard.

    Args:
        doing: such as ``pack 2 of 4: forward and backward``.
        step: number of the step within the run that is begun with it.
    """
    if _active is not None:
        _active.note(doing, step)


@contextmanager
def patient(doing: str) -> Iterator[None]:
    """Within, this process may say nothing for as long as ranks wait for one another: it waits for
    a disk, or for a rank that does. A disk that hangs would hang the next start as well.

    Args:
        doing: as for ``note``.
    """
    if _active is None:
        yield
        return
    with _active.patient():
        note(doing)
        yield


@contextmanager
def watched(
    folder: Path, world: World, *, stage: str, seconds: float, holds: Callable[[], str]
) -> Iterator[None]:
    """Within, a process that says nothing for ``seconds`` is ended, ``FIRST`` times as long in
    the first step. Entered by all ranks together: what one of them did before is no stall.

    Args:
        folder: the run folder.
        seconds: 0 means that nobody watches.
        holds: asked, in the watching thread, what the readers of data are busy with.
    """
    global _active
    if not seconds:
        yield
        return
    barrier()
    watch = _active = Watch(folder / FOLDER, world, stage, seconds, holds)
    try:
        yield
    finally:
        _active = None
        watch.close()


class Watch:
    """The thread that watches, and what it was told last. See ``watched``."""

    def __init__(
        self, folder: Path, world: World, stage: str, seconds: float, holds: Callable[[], str]
    ) -> None:
        self._folder, self._world, self._stage = folder, world, stage
        self._seconds, self._holds = seconds, holds
        self._doing, self._idle = "starting", 0.0
        self._step: int | None = None
        self._first = True
        self._patient = 0
        self._before = self._files()
        self._listener: threading.Thread | None = None
        self._heard = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def note(self, doing: str, step: int | None) -> None:
        if step is not None:
            self._first = self._step is None or step == self._step
            self._step = step
        self._doing, self._idle = doing, 0.0

    @contextmanager
    def patient(self) -> Iterator[None]:
        """See the function of that name; may be entered within itself."""
        self._patient += 1
        try:
            yield
        finally:
            self._idle = 0.0  # before the limit is lower again
            self._patient -= 1

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    @property
    def _limit(self) -> float:
        usual = self._seconds * (FIRST if self._first else 1.0)
        return max(usual, PATIENCE.total_seconds()) if self._patient else usual

    def _watch(self) -> None:
        tick = min(5.0, self._seconds / 4)
        while not self._closing.wait(tick):
            # Counted in ticks, not by the clock: a process that was stopped (Ctrl-Z, a suspended
            # machine) has not stalled.
            self._idle += tick
            if self._idle > self._seconds / 2:
                self._listen()
            if self._idle > (self._seconds / 2 if self._heard else self._limit):
                self._end()

    def _listen(self) -> None:
        """Look for other ranks' last words, in a thread: a disk that hangs takes it with it."""
        if self._listener is None or not self._listener.is_alive():
            self._listener = threading.Thread(target=self._look, name="last words", daemon=True)
            self._listener.start()

    def _look(self) -> None:
        self._heard = bool(self._files() - self._before)

    def _files(self) -> set[tuple[Path, int]]:
        """By when they were written: a step that is made again may stall again."""
        found = set()
        with suppress(OSError):  # none can be read now
            for path in self._folder.glob("*.txt"):
                with suppress(FileNotFoundError):  # somebody tidies up
                    found.add((path, path.stat().st_mtime_ns))
        return found

    def _end(self) -> None:
        """Say where this process stands, and end it, whatever fails or hangs meanwhile."""
        last = threading.Timer(2 * GRACE_SECONDS, os._exit, (STALLED,))
        last.daemon = True
        last.start()
        try:
            position, data = self._position(), f"data: {self._held()}"
            path = self._folder / f"step-{self._step or 0:08d}-rank-{self._world.rank:05d}.txt"
            print(
                f"error: {position}; {data}. All stacks go to {path}. The last checkpoint is "
                "whole: the same command goes on from it",
                file=sys.stderr,
                flush=True,
            )
            try:
                self._write(path, f"{position}\n{data}")
            except OSError as error:
                print(f"error: {path} cannot be written: {error}", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(sys.stderr, all_threads=True)
            self._wait_for_others()
        finally:
            last.cancel()
            os._exit(STALLED)  # no destructor: they would wait for the rank that hangs

    def _position(self) -> str:
        return (
            f"rank {self._world.rank} of {self._world.size} made no progress for "
            f"{self._idle:.0f} s: stage {self._stage!r}, step {self._step or 'not begun'}, "
            f"{self._doing}"
        )

    def _held(self) -> str:
        try:
            return self._holds()
        except Exception as error:  # of readers that are broken; this process ends all the same
            return f"unknown ({type(error).__name__}: {error})"

    def _write(self, path: Path, words: str) -> None:
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')}  {socket.gethostname()}  ")
            file.write(f"process {os.getpid()}\n{words}\n\n")
            file.flush()
            faulthandler.dump_traceback(file, all_threads=True)

    def _wait_for_others(self) -> None:
        deadline = time.monotonic() + GRACE_SECONDS
        while len(self._files() - self._before) < self._world.size:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
