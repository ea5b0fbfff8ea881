"""Where this process stands among the processes of a run."""

from __future__ import annotations

import attrs


@attrs.frozen
class World:
    """Rank, number of ranks, rank within the machine, and the device of this process."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: str = "cpu"

    @property
    def is_main(self) -> bool:
        return self.rank == 0
