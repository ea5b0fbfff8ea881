"""Where the time of a step goes, read off a clock that never makes the device wait.

On CUDA a moment is an event in the stream, looked at after the step's one wait; elsewhere it is
the host's clock.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Moment = float | torch.cuda.Event


class StepClock:
    """Adds up named spans of a step. A few microseconds each, so every step is measured."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._spans: list[tuple[str, Moment, Moment]] = []

    def now(self) -> Moment:
        """This moment, of the device where work is handed to one."""
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch
        event.record()  # type: ignore[no-untyped-call]  # torch
        return event

    def add(self, name: str, begin: Moment, end: Moment) -> None:
        """A span between two moments of ``now``."""
        self._spans.append((name, begin, end))

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """What runs inside, on the device where it is handed to one."""
        begin = self.now()
        yield
        self.add(name, begin, self.now())

    @contextmanager
    def host(self, name: str) -> Iterator[None]:
        """What runs inside, by the host's clock: waiting for others, or for a disk."""
        begin = time.perf_counter()
        yield
        self.add(name, begin, time.perf_counter())

    def take(self) -> dict[str, float]:
        """Seconds by name since the last time; to be asked after the device was waited for."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for name, begin, end in self._spans:
            seconds[name] += _seconds(begin, end)
        self._spans = []
        return dict(seconds)

    def forget(self) -> None:
        """Drop what was added."""
        self._spans = []


def _seconds(begin: Moment, end: Moment) -> float:
    if isinstance(begin, torch.cuda.Event):
        assert isinstance(end, torch.cuda.Event)
        end.synchronize()  # of another stream, perhaps; over already, as a rule
        milliseconds: float = begin.elapsed_time(end)  # type: ignore[no-untyped-call]  # torch
        return milliseconds / 1000
    assert not isinstance(end, torch.cuda.Event)
    return end - begin
