"""Ask a run to stop: the first signal lets it finish its step and save, the second ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether this process was asked to stop; call it to know."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def ask(self) -> None:
        self._asked = True


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Within, SIGTERM and SIGINT (Ctrl-C) ask to stop; repeated, they do what they always do."""
    request = StopRequest()
    usual: dict[signal.Signals, Any] = {}

    def hear(number: int, frame: FrameType | None) -> None:
        request.ask()
        signal.signal(number, usual[signal.Signals(number)])

    for one in SIGNALS:
        usual[one] = signal.signal(one, hear)
    try:
        yield request
    finally:
        for one, handler in usual.items():
            signal.signal(one, handler)
