"""The state of a lane as plain JSON, and when it may be gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

import attrs

from mmcore.data.prepare import Preparer


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
    packs: int
    sources: dict[str, SourceState]
    pending: list[tuple[str, str, int, int]]


@attrs.frozen
class LaneSettings:
    """What all lanes of a stage have in common."""

    preparer: Preparer
    seed: int
    lanes: int
    look_ahead: int
    block_rows: int

    def __attrs_post_init__(self) -> None:
        for key in ("lanes", "look_ahead", "block_rows"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} is {getattr(self, key)}, wanted at least 1")


def beginning(number: int, labels: Iterable[str], settings: LaneSettings) -> LaneState:
    """The state of a lane that has given nothing yet."""
    return LaneState(
        lane=number,
        lanes=settings.lanes,
        seed=settings.seed,
        block_rows=settings.block_rows,
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
    for key in ("lane", "lanes", "seed", "block_rows"):
        had, have = saved[key], wanted[key]
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
