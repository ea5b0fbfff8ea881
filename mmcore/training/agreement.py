"""All ranks train the same thing from the same place, or none does."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from mmcore.training.launched import RanksError
from mmcore.training.ranks import gather_objects


def check_agreement(facts: Mapping[str, str]) -> None:
    """Compare what the ranks found; called by all of them.

    Args:
        facts: what must be the same everywhere, by a name for the message.

    Raises:
        RanksError: on all ranks, where one differs from rank 0.
    """
    everyone = gather_objects((socket.gethostname(), dict(facts)))
    first_host, wanted = everyone[0]
    for rank, (host, found) in enumerate(everyone):
        for name, value in wanted.items():
            if found[name] != value:
                raise RanksError(
                    f"{name} is {found[name]} for rank {rank} on {host}, and {value} for rank 0 on "
                    f"{first_host}: all hosts need the same recipe, and a run folder on a disk "
                    "that they share"
                )
