"""A clock that splits a step into the spans between marks, waiting for the device at each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

import torch


class Clock:
    """Seconds between marks, added up by the mark that ends them.

    Args:
        device: whose queued work is waited for, where it has a queue.
    """

    def __init__(self, device: torch.device) -> None:
        self.running = False
        self._device = device
        self._last = 0.0
        self._spans: dict[str, float] = defaultdict(float)

    def start(self) -> None:
        """Begin a step."""
        self._spans.clear()
        self._last = self.now()

    def mark(self, span: str) -> None:
        """End a span here; does nothing while the clock is not ``running``."""
        if self.running:
            now = self.now()
            self._spans[span] += now - self._last
            self._last = now

    def spans(self) -> Mapping[str, float]:
        """Of the step so far."""
        return dict(self._spans)

    def now(self) -> float:
        """Seconds, once the device has done what it was told."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
