"""Held-out rows: decided by the key alone, never trained on, and the same in any share of ranks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.data.faults import DataFault
from mmcore.data.held_out import HeldOut
from mmcore.data.held_out_packs import HeldOutPacks, held_out_keys
from mmcore.data.lane_state import LaneSettings
from mmcore.data.lanes import Lane
from mmcore.data.loader import PackLoader
from mmcore.data.reader import SourceReader
from mmcore.interfaces import SampleKey

FIFTH = HeldOut(0.2)


def sources(memory: Any) -> list[tuple[str, Any]]:
    return [
        ("pages", memory(rows=(40, 25, 0, 1))),
        ("talks", memory(seed=1, rows=(30, 30), roles=("user", "assistant"))),
    ]


def keys(batches: Any) -> set[SampleKey]:
    return {attrs.evolve(one.key, piece=-1) for batch in batches for one in batch.segments}


def all_keys(memory: Any) -> set[SampleKey]:
    return {
        SampleKey(label, shard.name, row)
        for label, spec in sources(memory)
        for shard in spec.open().shards()
        for row in range(spec.open().length(shard))
    }


@given(st.integers(0, 10**9), st.integers(-1, 9), st.floats(0.0, 0.99))
def test_pieces_and_further_sources_of_a_name_go_with_their_row(row, piece, share) -> None:
    held = HeldOut(share)
    alike = [
        SampleKey("a", "s", row), SampleKey("a", "s", row, piece), SampleKey("a#2", "s", row),
    ]  # fmt: skip
    assert len({held.holds(key) for key in alike}) == 1


def test_the_share_is_met_and_a_larger_one_holds_what_a_smaller_one_did() -> None:
    rows = [SampleKey("a", f"s{n % 7}", n) for n in range(20_000)]
    small = {key for key in rows if HeldOut(0.01).holds(key)}
    large = {key for key in rows if HeldOut(0.1).holds(key)}
    assert len(small) == pytest.approx(200, rel=0.25)
    assert len(large) == pytest.approx(2000, rel=0.1)
    assert small < large
    assert not any(HeldOut().holds(key) for key in rows)
    with pytest.raises(ValueError, match="share is 1"):
        HeldOut(1.0)


def test_these_rows_are_held_out_for_ever() -> None:
    """Another hash would train on what earlier runs were validated on."""
    assert [n for n in range(100) if HeldOut(0.05).holds(SampleKey("a", "s", n))] == [
        1, 6, 65,
    ]  # fmt: skip


@pytest.mark.parametrize("ranks", [1, 3])
def test_training_gives_all_rows_but_those(memory: Any, preparer: Any, ranks: int) -> None:
    seen, counts = set(), Counter()
    for rank in range(ranks):
        loader = PackLoader(
            sources=sources(memory), preparer=preparer(), seed=1, lanes=3, packs_per_step=3,
            look_ahead=4, block_rows=4, rank=rank, ranks=ranks, held_out=FIFTH,
        )  # fmt: skip
        for _ in range(40):
            data = loader.next_step()
            seen |= keys(data.batches)
            counts.update(data.counts)
        loader.close()
    held = {key for key in all_keys(memory) if FIFTH.holds(key)}
    assert seen == all_keys(memory) - held
    assert held
    passed = counts["held_out/pages"] + counts["held_out/talks"]
    assert counts["held_out"] == passed > 0


def test_shares_count_what_is_trained_on(memory: Any, preparer: Any) -> None:
    readers = [SourceReader(label, spec) for label, spec in sources(memory)]
    settings = LaneSettings(preparer(), seed=1, lanes=1, look_ahead=4, block_rows=4, held_out=FIFTH)
    lane = Lane(0, readers, settings)
    total: Counter[str] = Counter()
    for _ in range(60):
        total.update(lane.next().counts)
    assert abs(total["samples/pages"] - total["samples/talks"]) <= 8  # those that still wait


def test_a_source_of_held_out_rows_alone_is_a_fault_and_no_endless_loop(
    memory: Any, preparer: Any
) -> None:
    number = next(n for n in range(99) if FIFTH.holds(SampleKey("small", "s0", n)))
    shares = [HeldOut(0.999999)]
    readers = [SourceReader("small", memory(rows=(number + 1,)))]
    settings = LaneSettings(
        preparer(), seed=1, lanes=1, look_ahead=4, block_rows=4, held_out=shares[0]
    )
    with pytest.raises(DataFault, match=r"'small'.*held out.*validation\.share"):
        Lane(0, readers, settings).plan()


def test_validation_gets_the_held_out_rows_and_no_others(memory: Any, preparer: Any) -> None:
    packs = HeldOutPacks(sources(memory), preparer(), FIFTH, rows=1000)
    held = {key for key in all_keys(memory) if FIFTH.holds(key)}
    assert keys(packs) == held
    assert keys(packs) == held, "the same every time"
    assert sum(packs.found.values()) == len(held)
    assert len(list(packs)) == len(packs)


@pytest.mark.parametrize("ranks", [2, 3, 50])
def test_ranks_share_them_out(memory: Any, preparer: Any, ranks: int) -> None:
    shares = [
        HeldOutPacks(sources(memory), preparer(), FIFTH, rows=5, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    whole = HeldOutPacks(sources(memory), preparer(), FIFTH, rows=5)
    found = [keys(share) for share in shares]
    assert set().union(*found) == keys(whole)
    assert sum(map(len, found)) == len(keys(whole)) == 10
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_no_more_shards_are_opened_than_needed(memory: Any) -> None:
    reader = SourceReader("many", memory(rows=(50,) * 200))
    found = held_out_keys(reader, FIFTH, 12)
    assert len(found) == 12
    assert all(FIFTH.holds(key) for key in found)
    assert len(set(reader._source.opened)) < 5


def test_rows_that_cannot_be_used_are_left_out(memory: Any, preparer: Any) -> None:
    spec = memory(rows=(200,), bad=0.3, broken=0.3)
    packs = HeldOutPacks([("bad", spec)], preparer(), FIFTH, rows=1000)
    assert 0 < len(keys(packs)) < packs.found["bad"]
