"""The state of a lane as plain JSON, and when it may be gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypedDict

import attrs

from mmcore.data.prepare import Preparer

READ_MEMORY: Final = 1_000_000_000
"""Bytes of encoded rows that the lanes hold where nothing else is said."""

LEAST_VISIT: Final = 64 * 1024
"""A lane reads at least so much of a source at a time, however many there are, in bytes."""

MOST_VISIT: Final = 8 * 1024 * 1024
"""And at most so much: a visit should not take long."""


class SourceState(TypedDict):
    """Where a lane stands in one source; see ``order.Cursor`` and ``mixture.Mixture``."""

    cursor: list[int]
    accepted: int
    shards: str | None


class LaneState(TypedDict):
    """All that a lane needs to go on with exactly the same packs; plain JSON, a few kilobytes.

    ``pending`` holds [label, shard, row, piece] of the samples that no pack has taken yet.
    """

    lane: int
    lanes: int
    seed: int
    block_rows: int
    read_memory: int
    packs: int
    sources: dict[str, SourceState]
    pending: list[tuple[str, str, int, int]]


@attrs.frozen
class LaneSettings:
    """What all lanes of a stage have in common.

    ``read_memory`` is for all lanes of all ranks together, so that what a lane reads at a time,
    and with it the order of rows, depends on neither ranks nor workers. One half is for the rows
    that lanes have read and not drawn, the other for the samples that wait for a pack.
    """

    preparer: Preparer
    seed: int
    lanes: int
    look_ahead: int
    block_rows: int
    read_memory: int = READ_MEMORY

    def visit_bytes(self, sources: int) -> int:
        """What a lane reads of a source at a time, of so many sources."""
        fair = self.read_memory // 2 // (self.lanes * sources)
        return min(max(fair, LEAST_VISIT), MOST_VISIT)

    @property
    def pending_bytes(self) -> int:
        """Encoded pictures of a lane that wait for a pack, before no more are drawn."""
        return max(self.read_memory // 2 // self.lanes, LEAST_VISIT)

    def __attrs_post_init__(self) -> None:
        for key in ("lanes", "look_ahead", "block_rows", "read_memory"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted at least 1")


def beginning(number: int, labels: Iterable[str], settings: LaneSettings) -> LaneState:
    """The state of a lane that has given nothing yet."""
    return LaneState(
        lane=number,
        lanes=settings.lanes,
        seed=settings.seed,
        block_rows=settings.block_rows,
        read_memory=settings.read_memory,
        packs=0,
        sources={label: SourceState(cursor=[], accepted=0, shards=None) for label in labels},
        pending=[],
    )


def check_state(saved: LaneState, lane: int, labels: Sequence[str], settings: LaneSettings) -> None:
    """A state goes on only with the sources and settings that it was made with.

    Raises:
        ValueError: it was made with others; the message names them.
    """
    wanted = beginning(lane, labels, settings)
    for key in ("lane", "lanes", "seed", "block_rows", "read_memory"):
        had, have = saved.get(key), wanted.get(key)
        if had != have:
            raise ValueError(
                f"the saved state of lane {lane} was made with {key} = {had}, now it is {have}; "
                "a stage goes on only with the data settings it began with"
            )
    if set(saved["sources"]) != set(labels):
        raise ValueError(
            f"the saved state of lane {lane} was made with sources {sorted(saved['sources'])}, "
            f"now there are {sorted(labels)}; a stage goes on only with the sources it began with"
        )
