"""A lane's packs are the same after any interruption; faults of rows and of shards differ."""

import json
from collections import Counter
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data import lanes as lanes_module
from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.lane_state import LaneSettings, LaneState
from mmcore.data.lanes import Lane, LanePack
from mmcore.data.reader import SourceReader
from mmcore.interfaces import PackedBatch


def same(one: PackedBatch, other: PackedBatch) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in attrs.fields(PackedBatch)]
    return all(
        torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
        for left, right in pairs
    )


def mixed(memory: Any) -> list[tuple[str, Any]]:
    talk = ("user", "assistant")
    return [
        ("pages", memory(words=2.5, rows=(30, 7, 0, 1))),
        ("talks", memory(share=2.5, seed=1, roles=talk, bad=0.15, broken=0.2)),
        ("small", memory(share=0.3, seed=2, rows=(1,), pictures=0)),
    ]


def open_lane(
    sources: list[tuple[str, Any]],
    prepare: Any,
    state: LaneState | None = None,
    *,
    number: int = 1,
    **changes: int,
) -> Lane:
    numbers = {"seed": 4, "lanes": 3, "look_ahead": 6, "block_rows": 4}
    numbers |= changes
    readers = [SourceReader(label, spec) for label, spec in sources]
    return Lane(number, readers, LaneSettings(prepare, **numbers), state)


@settings(deadline=None, max_examples=12)
@given(before=st.integers(0, 25), look_ahead=st.integers(1, 9))
def test_a_restored_lane_gives_exactly_the_same_packs(
    memory: Any, preparer: Any, before: int, look_ahead: int
) -> None:
    lane = open_lane(mixed(memory), preparer(), look_ahead=look_ahead)
    state = lane.state()
    for _ in range(before):
        state = lane.next().state
    text = json.dumps(state)
    again = open_lane(mixed(memory), preparer(), json.loads(text), look_ahead=look_ahead)
    assert json.dumps(again.state()) == text, "looking at a state does not change it"
    for _ in range(6):
        left, right = lane.next(), again.next()
        assert same(left.batch, right.batch)
        assert left.rejected == right.rejected
        assert left.counts == right.counts
        assert json.dumps(left.state) == json.dumps(right.state)


def test_a_state_is_small(memory: Any, preparer: Any) -> None:
    lane = open_lane(mixed(memory), preparer(), look_ahead=128)
    assert len(json.dumps([lane.next() for _ in range(5)][-1].state)) < 12_000


def run(lane: Lane, packs: int) -> list[LanePack]:
    return [lane.next() for _ in range(packs)]


def test_shares_count_what_reaches_the_packs(memory: Any, preparer: Any) -> None:
    """Rejected rows and broken pictures are made up for by further draws of the same source."""
    talk = ("user", "assistant")
    sources = [
        ("good", memory(rows=(400,))),
        ("bad", memory(rows=(400,), seed=1, roles=talk, bad=0.3, broken=0.3)),
    ]
    packs = run(open_lane(sources, preparer(max_tokens=400, max_views=40)), 60)
    total: Counter[str] = Counter()
    for pack in packs:
        total.update({name: int(count) for name, count in pack.counts.items()})
    assert total["rejected"] > 50
    assert set(total) >= {"rejected/bad-row", "rejected/image-unreadable", "shrunk", "samples"}
    assert abs(total["samples/good"] - total["samples/bad"]) <= 10
    assert total["drawn/bad"] > 1.3 * total["drawn/good"]
    assert total["rejected"] == sum(len(pack.rejected) for pack in packs)
    assert total["samples"] == sum(len(pack.batch.segments) for pack in packs)


def test_every_row_is_packed_or_rejected_once_per_epoch(memory: Any, preparer: Any) -> None:
    source = memory(rows=(13, 0, 5), bad=0.2, broken=0.2, words=1.0)
    lane = open_lane([("a", source)], preparer(), number=0, lanes=1)
    seen: Counter[tuple[str, int]] = Counter()
    packs = []
    while not packs or packs[-1].state["sources"]["a"]["cursor"][0] < 3:
        packs.append(lane.next())
    for pack in packs:
        seen.update((s.key.shard, s.key.row) for s in pack.batch.segments)
        seen.update((row.key.shard, row.key.row) for row in pack.rejected)
    pending = Counter((shard, row) for _, shard, row, _ in packs[-1].state["pending"])
    drawn = sum(pack.counts["drawn/a"] for pack in packs)
    assert sum((seen + pending).values()) == drawn
    assert len(seen + pending) == 18
    assert set((seen + pending).values()) <= {3, 4}


def test_packs_hold_what_they_say(memory: Any, preparer: Any) -> None:
    for pack in run(open_lane(mixed(memory), preparer()), 20):
        batch = pack.batch
        assert 0 < batch.tokens == len(batch.input_ids_T) <= 96
        assert batch.views <= 8
        assert batch.views * 3 == int((batch.input_ids_T == 258).sum())
        assert batch.lane == 1


def test_a_source_full_of_faults_ends_the_run(
    memory: Any, preparer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "MAX_REJECTED_IN_A_ROW", 30)
    for spec in (memory(bad=1.0), memory(rows=(9,), broken=1.0, roles=("user", "assistant"))):
        if spec.broken:
            spec = attrs.evolve(spec, pictures=9, seed=5)
        with pytest.raises(DataFault, match=r"source 'x': 30 rows in a row .* x:s\d:\d+"):
            run(open_lane([("x", spec)], preparer()), 99)


def test_many_faults_among_good_rows_do_not_end_it(
    memory: Any, preparer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "MAX_REJECTED_IN_A_ROW", 30)
    packs = run(open_lane([("x", memory(bad=0.5))], preparer()), 40)
    assert sum(len(pack.rejected) for pack in packs) > 40


def test_unexpected_errors_name_the_sample(memory: Any, preparer: Any) -> None:
    with pytest.raises(DataFault, match=r"sample x:s0:7: KeyError: 'caption'"):
        run(open_lane([("x", memory(rows=(9,), bug_at=7))], preparer(), lanes=1, number=0), 9)
    with pytest.raises(DataFault, match=r"source 'x', shard 's1'.*disk on fire"):
        run(open_lane([("x", memory(unreadable="s1"))], preparer()), 50)


def test_an_empty_source_is_named(memory: Any, preparer: Any) -> None:
    with pytest.raises(EmptySource, match="source 'none'"):
        open_lane([("a", memory()), ("none", memory(rows=(0,)))], preparer()).next()


def test_states_of_other_settings_are_refused(memory: Any, preparer: Any) -> None:
    state = open_lane(mixed(memory), preparer()).next().state
    for changes in ({"seed": 5}, {"lanes": 6}, {"block_rows": 8}):
        [(name, value)] = changes.items()
        with pytest.raises(ValueError, match=rf"made with {name} = \d, now it is {value}"):
            open_lane(mixed(memory), preparer(), state, **changes)
    with pytest.raises(ValueError, match=r"\['pages', 'small', 'talks'\], now there are \['pages'"):
        open_lane(mixed(memory)[:2], preparer(), state)


def test_other_shards_are_refused(memory: Any, preparer: Any) -> None:
    state = open_lane([("a", memory(rows=(9, 9)))], preparer()).next().state
    with pytest.raises(DataFault, match="source 'a': its shards are not those of the saved run"):
        open_lane([("a", memory(rows=(9, 9, 9)))], preparer(), state).next()


def test_a_row_that_broke_since_is_rejected_on_restore(memory: Any, preparer: Any) -> None:
    spec = memory(rows=(60,), words=1.0)
    lane = open_lane([("a", spec)], preparer())
    state = lane.next().state
    worse = attrs.evolve(spec, bad=0.9)
    pack = open_lane([("a", worse)], preparer(), state).next()
    pending = {(shard, row) for _, shard, row, _ in state["pending"]}
    gone = sum((row.key.shard, row.key.row) in pending for row in pack.rejected)
    assert gone
    fresh = pack.counts["drawn/a"] - (len(pack.rejected) - gone)
    before, after = (one["sources"]["a"]["accepted"] for one in (state, pack.state))
    assert after == before - gone + fresh, "its turn is given back"


def test_lanes_are_different_streams(memory: Any, preparer: Any) -> None:
    streams = []
    for number in range(3):
        packs = run(open_lane(mixed(memory)[:1], preparer(), number=number), 3)
        streams.append({s.key for pack in packs for s in pack.batch.segments})
    assert not np.any([streams[i] & streams[j] for i in range(3) for j in range(i)])
