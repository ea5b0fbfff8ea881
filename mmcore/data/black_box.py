"""What a worker process is busy with, written where it outlives the process."""

from __future__ import annotations

import json
from ctypes import c_char
from multiprocessing.context import BaseContext
from typing import Any, Final

import attrs

from mmcore.interfaces import SampleKey

SIZE: Final = 4096
"""Bytes of a box; a place with a longer name is cut."""


class BlackBox:
    """A few shared bytes; can be handed to a process that is started, not sent to a running one.

    Args:
        context: by which the process will be started.
    """

    def __init__(self, context: BaseContext) -> None:
        self._bytes: Any = context.RawArray(c_char, SIZE)

    def note(self, place: SampleKey | str) -> None:
        """Write down where the process is: at a sample, or somewhere in plain words."""
        plain = attrs.astuple(place) if isinstance(place, SampleKey) else place
        self._bytes.value = json.dumps(plain).encode()[: SIZE - 1]

    def read(self) -> SampleKey | str:
        """What was noted last; also after the process has died. Empty if nothing was."""
        text = self._bytes.value.decode(errors="replace")
        try:
            found = json.loads(text)
        except ValueError:  # nothing was noted, or it was cut
            return str(text)
        return SampleKey(*found) if isinstance(found, list) else str(found)
