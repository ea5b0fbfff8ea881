"""What a process keeps of files that it will read again: the last used, bounded in bytes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

Value = TypeVar("Value")


class Kept:
    """Values by key, of which those used longest ago are forgotten first.

    Shared by all threads; a forked process goes on with a copy.

    Args:
        most_bytes: of all values together; the value used last is kept whatever its size.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._held = most_bytes, 0
        self._values: dict[Hashable, tuple[Any, int]] = {}
        self._renew_lock()
        # A thread of the parent may have held it, and is not there to let it go.
        os.register_at_fork(after_in_child=self._renew_lock)

    @property
    def held_bytes(self) -> int:
        return self._held

    def get(
        self, key: Hashable, make: Callable[[], Value], bytes_of: Callable[[Value], int]
    ) -> Value:
        """The value of a key, made now if it is not kept."""
        with self._lock:
            found = self._values.pop(key, None)
            if found is not None:
                self._values[key] = found
                value: Value = found[0]
                return value
        made = make()
        with self._lock:
            self._drop(key)
            self._values[key] = made, bytes_of(made)
            self._held += self._values[key][1]
            while self._held > self._most and len(self._values) > 1:
                self._drop(next(iter(self._values)))
        return made

    def _drop(self, key: Hashable) -> None:
        _, size = self._values.pop(key, (None, 0))
        self._held -= size

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()


INDEXES: Final = Kept(256 * 1024 * 1024)
"""Where the rows of tars and JSON files lie. Enough for 600 tars of 10,000 members each, as 64
lanes over 10 sources visit them in turn."""
