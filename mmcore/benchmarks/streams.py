"""How fast lanes make packs, how full these are, what they hold, and how soon they go on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import attrs
import torch

from mmcore.data.lane_state import LaneState, SourceState
from mmcore.data.lanes import Lane
from mmcore.data.rounds import LaneSet


@attrs.frozen
class Rate:
    """What some lanes of one process gave.

    Attributes:
        lanes: how many.
        seconds, cpu_seconds: by the clock, and of all threads of this process.
        packs, samples, views, tokens: how many of each.
        token_fill, view_fill: of the packs, as shares of what they could hold.
        first_seconds: until every lane had given its first pack, which is not counted above.
    """

    lanes: int
    seconds: float
    cpu_seconds: float
    packs: int
    samples: int
    views: int
    tokens: int
    token_fill: float
    view_fill: float
    first_seconds: float


def measure_rate(lanes: LaneSet, packs: int) -> Rate:
    """Let lanes make at least so many packs, one lane after another, in one thread."""
    opened = lanes.open()
    torch.set_num_threads(1)
    began = time.perf_counter()
    for lane in opened:
        lane.next()
    first = time.perf_counter() - began
    began, cpu = time.perf_counter(), time.process_time()
    samples = views = tokens = 0
    for number in range(packs):
        batch = opened[number % len(opened)].next().batch
        samples, views, tokens = (
            samples + len(batch.segments),
            views + batch.views,
            tokens + batch.tokens,
        )
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    preparer = lanes.settings.preparer
    return Rate(
        lanes=len(opened),
        seconds=seconds,
        cpu_seconds=cpu,
        packs=packs,
        samples=samples,
        views=views,
        tokens=tokens,
        token_fill=tokens / (packs * preparer.max_tokens),
        view_fill=views / (packs * preparer.max_views),
        first_seconds=first,
    )


def with_lanes(lanes: LaneSet, count: int) -> LaneSet:
    """The same data cut into another number of lanes, all of them."""
    settings = attrs.evolve(lanes.settings, lanes=count)
    return attrs.evolve(lanes, settings=settings, lanes=range(count), states={})


def observed_shares(lanes: LaneSet, samples: int) -> dict[str, float]:
    """Shares of the sources, 0 to 1, among so many samples that lanes in turn put into packs or
    let wait for one; no picture is decoded."""
    opened = lanes.open()
    accepted: dict[int, Counter[str]] = {}
    number = 0
    while sum(one.total() for one in accepted.values()) < samples:
        lane = opened[number % len(opened)]
        lane.plan()
        state = lane.state()
        accepted[state["lane"]] = Counter(
            {label: one["accepted"] for label, one in state["sources"].items()}
        )
        number += 1
    seen = sum(accepted.values(), Counter[str]())
    return {label: seen[label] / seen.total() for label, _ in lanes.sources}


def measure_resume(lanes: LaneSet, positions: Sequence[int], repeats: int) -> list[list[float]]:
    """Seconds until the first pack of a lane that goes on behind so many samples of the stage.

    The lanes are opened anew every time, and the positions take turns.

    Returns:
        for every position, the seconds of each repeat.
    """
    [lane] = attrs.evolve(lanes, lanes=lanes.lanes[:1]).open()
    near = lane.next().state
    shares = {label: spec.share for label, spec in lanes.sources}
    taken: list[list[float]] = [[] for _ in positions]
    for _ in range(repeats):
        for number, position in enumerate(positions):
            state = _behind(near, shares, position, lanes.settings.lanes)
            began = time.perf_counter()
            one = attrs.evolve(lanes, lanes=[near["lane"]], states={near["lane"]: state})
            [lane] = one.open()
            lane.next()
            taken[number].append(time.perf_counter() - began)
    return taken


@attrs.frozen
class MemoryPoint:
    """How far a long pass was, and what the process held.

    Attributes:
        rows: drawn so far.
        resident: bytes of this process that were in memory.
        seconds: since the pass began.
    """

    rows: int
    resident: int
    seconds: float


def measure_memory(
    lanes: LaneSet, rows: int, points: int, on_rows: Callable[[int], None] = lambda count: None
) -> list[MemoryPoint]:
    """Draw so many rows, and note now and then what is held; the first point is before them."""
    opened = lanes.open()
    began = time.perf_counter()
    found = [MemoryPoint(0, resident_bytes(), 0.0)]
    drawn = number = 0
    while drawn < rows:
        now = _drawn(opened[number % len(opened)])
        drawn, number = drawn + now, number + 1
        on_rows(now)
        if drawn >= rows * len(found) / points:
            found.append(MemoryPoint(drawn, resident_bytes(), time.perf_counter() - began))
    return found


def resident_bytes() -> int:
    """What this process has in memory; on Linux."""
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def _drawn(lane: Lane) -> int:
    counts = lane.next().counts
    return round(sum(n for name, n in counts.items() if name.startswith("drawn/")))


def _behind(state: LaneState, shares: Mapping[str, float], position: int, lanes: int) -> LaneState:
    """The state as it would be after so many samples of the stage, in some later epoch."""
    whole = sum(shares.values())
    sources: dict[str, SourceState] = {}
    for label, one in state["sources"].items():
        more = round(position * shares[label] / whole / lanes)
        epoch, *rest = one["cursor"]
        sources[label] = SourceState(
            cursor=[epoch + more // 1000, *rest],
            accepted=one["accepted"] + more,
            shards=one["shards"],
        )
    return LaneState(**{**state, "sources": sources})
