"""A limit cuts a source short in the order of its shards; every kept row comes once an epoch."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.data.epochs import count_rows
from mmcore.data.faults import DataFault
from mmcore.data.order import RowOrder
from mmcore.data.reader import SourceReader


@given(
    rows=st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any), limit=st.integers(1, 50)
)
def test_only_the_first_rows_are_used(memory: Any, rows: list[int], limit: int) -> None:
    whole = [(f"s{shard}", row) for shard, count in enumerate(rows) for row in range(count)]
    spec = memory(rows=tuple(rows), limit=limit)
    drawn = set()
    for lane in range(2):
        order = RowOrder(
            SourceReader("a", spec), seed=1, lane=lane, lanes=2, block_rows=2, visit_bytes=99
        )
        while True:
            one = order.next()
            if order.cursor[0] > 0:
                break
            drawn.add((one.shard.name, one.number))
    assert drawn == set(whole[:limit])
    assert count_rows(spec) == min(limit, len(whole))


def test_shards_behind_the_limit_are_not_opened(memory: Any) -> None:
    assert count_rows(memory(rows=(5, 5, 5), unreadable="s2", limit=10)) == 10
    with pytest.raises(DataFault, match="disk on fire"):
        count_rows(memory(rows=(5, 5, 5), unreadable="s2", limit=11))
