"""Ask a run to stop: the first signal lets it finish its step and save, the second ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)
ASKS = signal.SIGUSR1
"""Only ever asks, however often it comes; a cluster may send it some time before it kills."""


class StopRequest:
    """Whether this process was asked to stop; called before every step to know.

    Args:
        after: how many steps are made without being asked; None for any number.
    """

    def __init__(self, after: int | None = None) -> None:
        assert after is None or after >= 1, f"a run makes a step at least, not {after}"
        self._asked = False
        self._left = after

    def __call__(self) -> bool:
        if self._left is not None:
            self._left -= 1
            self._asked |= self._left <= 0
        return self._asked

    def ask(self) -> None:
        self._asked = True


@contextmanager
def stop_on_signal(*, after: int | None = None) -> Iterator[StopRequest]:
    """Within, SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 ask to stop; the first two, repeated, do what
    they always do.

    Args:
        after: ask by itself, so that as many steps are made.
    """
    request = StopRequest(after)
    usual: dict[signal.Signals, Any] = {}

    def hear(number: int, frame: FrameType | None) -> None:
        request.ask()
        signal.signal(number, usual[signal.Signals(number)])

    for one in SIGNALS:
        usual[one] = signal.signal(one, hear)
    usual[ASKS] = signal.signal(ASKS, lambda number, frame: request.ask())
    try:
        yield request
    finally:
        for one, handler in usual.items():
            signal.signal(one, handler)
