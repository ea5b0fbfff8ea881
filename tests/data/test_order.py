"""The order of rows: every row once per epoch over all lanes, resumable anywhere."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.order import RowOrder, read_rows
from mmcore.data.reader import SourceReader
from mmcore.data.stable_hash import shuffled, splitmix, stable_hash
from mmcore.interfaces import Row, Shard

ROWS = st.lists(st.integers(0, 23), min_size=1, max_size=5).filter(any)


def stream(spec: Any, lane: int, lanes: int, cursor: Any = (), **changes: int) -> RowOrder:
    reader = SourceReader("made-up", spec)
    sizes = {"block_rows": 4, "visit_bytes": 10**6, **changes}
    return RowOrder(reader, seed=5, lane=lane, lanes=lanes, cursor=cursor, **sizes)


def epoch_of(rows: RowOrder, epoch: int) -> list[tuple[str, int]]:
    """What the lane draws in one epoch; the first row beyond it is left drawn."""
    drawn = []
    while True:
        one = rows.next()
        if rows.cursor[0] > epoch:
            return drawn
        if rows.cursor[0] == epoch:
            drawn.append((one.shard.name, one.number))


@settings(deadline=None, max_examples=60)
@given(
    rows=ROWS,
    lanes=st.integers(1, 7),
    block_rows=st.integers(1, 9),
    epoch=st.integers(0, 2),
    visit=st.integers(1, 30),
)
def test_every_row_goes_to_exactly_one_lane(
    memory: Any, rows: list[int], lanes: int, block_rows: int, epoch: int, visit: int
) -> None:
    """Also where a visit ends inside a block, for its rows are large."""
    spec = memory(rows=tuple(rows))
    seen = []
    for lane in range(lanes):
        rows_of = stream(spec, lane, lanes, block_rows=block_rows, visit_bytes=visit)
        seen += epoch_of(rows_of, epoch)
    wanted = [(f"s{shard}", row) for shard, count in enumerate(rows) for row in range(count)]
    assert sorted(seen) == sorted(wanted)


@pytest.mark.parametrize("rows", [8, 9, 15, 200])
def test_every_lane_gets_rows_of_a_small_shard(memory: Any, rows: int) -> None:
    for lane in range(8):
        assert epoch_of(stream(memory(rows=(rows,)), lane, 8, block_rows=64), 0)


def test_a_leftover_row_goes_to_another_lane_in_another_epoch(memory: Any) -> None:
    lanes = [stream(memory(rows=(1,)), lane, 4) for lane in range(4)]
    taken = [{lane.cursor[0] for _ in range(8) if lane.next()} for lane in lanes]
    assert all(len(epochs) == 8 for epochs in taken)
    assert not set.intersection(*taken)
    assert max(map(max, taken)) > 16


def test_shards_are_visited_in_another_order_in_every_lane_and_epoch(memory: Any) -> None:
    def visits(lane: int, epoch: int) -> tuple[str, ...]:
        rows = stream(memory(rows=(4,) * 9), lane, 2)
        return tuple(dict.fromkeys(shard for shard, _ in epoch_of(rows, epoch)))

    assert len({visits(lane, epoch) for lane in range(2) for epoch in range(3)}) == 6


def test_epochs_and_lanes_differ_and_seeds_too(memory: Any) -> None:
    rows = stream(memory(rows=(50, 50)), 0, 1)
    first, second = [], []
    for _ in range(100):
        one = rows.next()
        first.append((one.shard.name, one.number))
    for _ in range(100):
        one = rows.next()
        second.append((one.shard.name, one.number))
    assert first != second
    assert sorted(first) == sorted(second)
    assert first != sorted(first)


@settings(deadline=None, max_examples=30)
@given(rows=ROWS, lanes=st.integers(1, 4), before=st.integers(0, 70), visit=st.integers(1, 30))
def test_a_cursor_goes_on_with_the_same_rows(
    memory: Any, rows: list[int], lanes: int, before: int, visit: int
) -> None:
    """Also where a visit ends inside a block, for its rows are large."""
    spec = memory(rows=tuple(rows))
    one = stream(spec, lanes - 1, lanes, visit_bytes=visit)
    for _ in range(before):
        one.next()
    cursor = json.loads(json.dumps(one.cursor))
    again = stream(spec, lanes - 1, lanes, cursor, visit_bytes=visit)
    for _ in range(20):
        left, right = one.next(), again.next()
        assert (left.shard, left.number) == (right.shard, right.number)


class _Documents(SourceReader):
    """Ten rows with pictures of 10 bytes in a list; notes which rows were read."""

    shards = (Shard("s", "s"),)

    def length(self, shard: Shard) -> int:
        return 10

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        self.read: list[int] = []
        for number in range(start, stop):
            self.read.append(number)
            yield number, {"texts": [None, "abcd"], "pictures": [{"bytes": b"x" * 6}, None]}


def test_bytes_in_lists_and_records_count_against_a_visit(memory: Any) -> None:
    reader = _Documents("documents", memory(rows=(10,)))
    RowOrder(reader, seed=5, lane=0, lanes=1, block_rows=10, visit_bytes=25).next()
    assert reader.read == [0, 1, 2]


def test_nothing_is_opened_before_it_is_needed(memory: Any) -> None:
    spec = memory(rows=(30, 30, 30))
    reader = SourceReader("made-up", spec)
    rows = RowOrder(reader, seed=5, lane=0, lanes=2, block_rows=4, visit_bytes=100)
    assert reader.fingerprint is None
    rows.next()
    assert len(set(reader._open().opened)) == 1


def test_a_source_without_rows_is_named(memory: Any) -> None:
    with pytest.raises(EmptySource, match=r"source 'made-up'.*2 shards of 'memory'"):
        stream(memory(rows=(0, 0)), 0, 3).next()
    with pytest.raises(EmptySource, match="0 shards"):
        stream(memory(rows=()), 0, 3).next()


def test_an_unreadable_shard_is_named(memory: Any) -> None:
    with pytest.raises(DataFault, match=r"source 'made-up', shard 's0'.*OSError: disk on fire"):
        stream(memory(rows=(9,), unreadable="s0"), 0, 1).next()
    with pytest.raises(DataFault, match=r"source 'made-up', shard 's0'.*, row 2: OSError: read"):
        stream(memory(rows=(4,), breaks_at=("s0", 2)), 0, 1).next()


def test_single_rows_are_read_in_few_visits(memory: Any) -> None:
    reader = SourceReader("made-up", memory(rows=(100,)))
    visits = []
    original = reader.rows
    reader.rows = lambda shard, start, stop: (  # type: ignore[method-assign]  # counts visits
        visits.append((start, stop)) or original(shard, start, stop)
    )
    found = read_rows(reader, reader.shard("s0"), {3, 7, 5, 90}, gap=8)
    assert {number: row["number"] for number, row in found.items()} == {3: 3, 5: 5, 7: 7, 90: 90}
    assert visits == [(3, 8), (90, 91)]


def test_hashes_are_the_same_everywhere() -> None:
    """The numbers come from hashlib by hand and from the published SplitMix64 example."""
    assert stable_hash(42, "x") == 12956091475243591150
    assert stable_hash("a", 1) != stable_hash("a1")
    assert splitmix(1234567, 3).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    assert sorted(shuffled(100, "x").tolist()) == list(range(100))
