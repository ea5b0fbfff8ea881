"""Jobs in processes of their own, several at a time: one that dies takes nobody with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO, Protocol

import attrs

from mmcore.training.launcher_watch import VARIABLE
from mmcore.training.stopping import SIGNALS

MMCORE = (sys.executable, "-m", "mmcore")
"""How it is called in a process of its own."""

LOOK_SECONDS = 0.2
"""How often it is looked whether a process has ended."""

TAIL_BYTES = 4096

ASKED_BY = (*SIGNALS, signal.SIGHUP)
"""Signals by which the pool is told to stop: a terminal that is closed says it by the last."""


@attrs.frozen(kw_only=True)
class Job:
    """One call of `mmcore` in a process of its own.

    Attributes:
        id: what it is called.
        words: of the command, after ``mmcore``.
        log: the file that its output is added to.
        done: whether its work is done, asked when it ended well: it may have been told to stop.
    """

    id: str
    words: tuple[str, ...]
    log: Path
    done: Callable[[], bool]


@attrs.frozen(kw_only=True)
class Ended:
    """How a job ended.

    Attributes:
        job: which.
        how: "stopped" is one that was told to, and can go on.
        seconds: since it was started.
        reason: why it failed; empty otherwise.
    """

    job: Job
    how: str
    seconds: float
    reason: str = ""


class Watcher(Protocol):
    """Who is told what the pool does."""

    def started(self, job: Job) -> None: ...

    def ended(self, ended: Ended) -> None: ...

    def looked(self) -> None:
        """Called again and again while jobs run."""


class Pool:
    """Runs jobs in order, so many at a time, until all have ended or it is told to stop.

    Args:
        parallel: how many run at the same time.
        environment: variables of the jobs beside this process' own, by the number of the slot.
        watcher: is told.
    """

    def __init__(
        self,
        parallel: int,
        environment: Callable[[int], Mapping[str, str]],
        watcher: Watcher,
    ) -> None:
        assert parallel >= 1
        self._parallel, self._environment, self._watcher = parallel, environment, watcher
        self._asked = 0

    def run(self, jobs: Sequence[Job]) -> bool:
        """All of them; False where it was told to stop before.

        The first Ctrl-C (or SIGTERM, or the terminal's end) tells the jobs to save and stop, the
        second kills them. They run in sessions of their own: a terminal does not tell them by
        itself. An error of the watcher tells them so too, and is raised when they have.
        """
        waiting = list(jobs)
        running: dict[int, _Process] = {}
        with self._heard(running):
            try:
                while running or (waiting and not self._asked):
                    self._fill(waiting, running)
                    time.sleep(LOOK_SECONDS)
                    self._look(running)
            finally:
                # Only where an error of our own came between, such as a terminal that is gone.
                if running and not self._asked:
                    self._ask(running)
                for one in running.values():
                    one.wait()
        return not self._asked

    def _fill(self, waiting: list[Job], running: dict[int, _Process]) -> None:
        for slot in range(self._parallel):
            if slot not in running and waiting and not self._asked:
                job = waiting.pop(0)
                running[slot] = _Process(job, self._environment(slot))
                self._watcher.started(job)

    def _look(self, running: dict[int, _Process]) -> None:
        for slot, one in list(running.items()):
            ended = one.ended(asked=self._asked > 0)
            if ended is not None:
                del running[slot]
                self._watcher.ended(ended)
        self._watcher.looked()

    def _ask(self, running: Mapping[int, _Process]) -> None:
        self._asked += 1
        for one in list(running.values()):
            one.signal(signal.SIGTERM if self._asked == 1 else signal.SIGKILL)

    @contextmanager
    def _heard(self, running: Mapping[int, _Process]) -> Iterator[None]:
        def hear(number: int, frame: FrameType | None) -> None:
            self._ask(running)

        # What is ignored stays so: nohup asks that a closed terminal stops nothing.
        heard = [one for one in ASKED_BY if signal.getsignal(one) is not signal.SIG_IGN]
        usual = {number: signal.signal(number, hear) for number in heard}
        try:
            yield
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)


class _Process:
    """A job that runs."""

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self._job = job
        self._began = time.monotonic()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            self._from = log.tell()
            self._process = subprocess.Popen(
                [*MMCORE, *job.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, VARIABLE: str(os.getpid())},
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """To the process; a kill also reaches those that it started."""
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            elif self._process.poll() is None:
                self._process.send_signal(number)

    def wait(self) -> None:
        self._process.wait()

    def ended(self, *, asked: bool) -> Ended | None:
        """How it ended; None while it goes on.

        Args:
            asked: whether it was told to stop: if it could not save, it is stopped all the same.
        """
        code = self._process.poll()
        if code is None:
            return None
        seconds = time.monotonic() - self._began
        if code == 0 and self._job.done():
            return Ended(job=self._job, how="finished", seconds=seconds)
        if code == 0 or asked:
            return Ended(job=self._job, how="stopped", seconds=seconds)
        return Ended(job=self._job, how="failed", seconds=seconds, reason=self._reason(code))

    def _reason(self, code: int) -> str:
        if code < 0:
            name = signal.Signals(-code).name
            hint = "; most often the machine's memory running out" if name == "SIGKILL" else ""
            return f"killed by {name}{hint}"
        with self._job.log.open("rb") as log:
            said = _said(log, self._from)
        return said or f"exit code {code}, without a word"


def _said(log: BinaryIO, begin: int) -> str:
    """The last error in a log after this place; its last lines, where none is called one."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(begin, size - TAIL_BYTES))
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if line.startswith("error:")]
    return errors[-1].removeprefix("error:").strip() if errors else " / ".join(lines[-3:])
