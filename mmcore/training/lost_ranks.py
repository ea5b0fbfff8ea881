"""A rank that another one left alone says so in a line, not in the words of a network library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from torch import distributed

from mmcore.interfaces import World

SIGNS = (
    "connection closed by peer",  # gloo
    "connection reset by peer",
    "broken pipe",
    "remote process exited",  # NCCL
    "communicator was aborted",
)
"""What torch's backends say when a peer has ended, in small letters."""

AFTER_YOU_SECONDS = 3.0
"""How long a rank that was left alone stays: launchers take the process that ends first for the one
that failed, and end the others."""


class LostRankError(RuntimeError):
    """Another rank has ended; the reason is that one's to tell."""


@contextmanager
def naming_lost_ranks(world: World) -> Iterator[None]:
    """Within, an error that means that a peer has ended is a ``LostRankError``."""
    try:
        yield
    except RuntimeError as error:
        if world.size == 1 or not _left_alone(error):
            raise
        time.sleep(AFTER_YOU_SECONDS)
        said = str(error).partition("\n")[0]
        raise LostRankError(
            f"rank {world.rank} ends, as it lost the connection to another rank, whose own message "
            f"says why ({said})"
        ) from error


def _left_alone(error: RuntimeError) -> bool:
    known = isinstance(error, distributed.DistError) or type(error) is RuntimeError
    return known and any(sign in str(error).lower() for sign in SIGNS)
