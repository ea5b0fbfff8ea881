"""Packing loses nothing, repeats nothing, keeps both bounds, and fills packs."""

import itertools

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data.packing import LookAhead, fullest

SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), max_size=60)


@attrs.frozen(eq=False)
class Item:
    tokens: int
    views: int
    encoded_bytes: int = 0


def packs_of(items: list[Item], depth: int, tokens: int, views: int) -> list[list[Item]]:
    """All packs; at the end what is left is closed without further samples."""
    look: LookAhead[Item] = LookAhead(depth, tokens, views, max_bytes=10**6)
    packs, waiting = [], iter(items)
    while True:
        while look.hungry:
            item = next(waiting, None)
            if item is None:
                while look.pending:
                    packs.append(look.close())
                return packs
            look.add(item)
        packs.append(look.close())


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, depth=st.integers(1, 12))
def test_nothing_lost_nothing_twice_within_bounds(sizes: list[tuple[int, int]], depth: int) -> None:
    items = [Item(*size) for size in sizes]
    packs = packs_of(items, depth, tokens=40, views=6)
    assert sorted(map(id, itertools.chain(*packs))) == sorted(map(id, items))
    place = {id(item): index for index, item in enumerate(items)}
    oldest = 0
    for pack in packs:
        assert sum(item.tokens for item in pack) <= 40
        assert sum(item.views for item in pack) <= 6
        places = [place[id(item)] for item in pack]
        assert places == sorted(places)
        assert places[0] >= oldest, "the oldest pending sample goes first"
        oldest = places[0]
    assert [len(pack) for pack in packs] == [
        len(p) for p in packs_of(items, depth, tokens=40, views=6)
    ]


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 4)), max_size=9),
    tokens=st.integers(0, 50),
    views=st.integers(0, 9),
    worth=st.tuples(st.integers(1, 3), st.integers(0, 9)),
)
def test_fullest_is_the_best_of_all_subsets(
    sizes: list[tuple[int, int]], tokens: int, views: int, worth: tuple[int, int]
) -> None:
    def total(subset: tuple[int, ...]) -> tuple[int, int]:
        return sum(sizes[i][0] for i in subset), sum(sizes[i][1] for i in subset)

    def value(subset: tuple[int, ...]) -> int:
        t, v = total(subset)
        return worth[0] * t + worth[1] * v if t <= tokens and v <= views else -1

    every = itertools.chain.from_iterable(
        itertools.combinations(range(len(sizes)), n) for n in range(len(sizes) + 1)
    )
    chosen = tuple(fullest(sizes, tokens, views, worth))
    assert len(set(chosen)) == len(chosen)
    assert value(chosen) == max(map(value, every))


@pytest.mark.parametrize("median", [30, 150, 380, 1200])
def test_fill_of_lognormal_lengths(median: int) -> None:
    random = np.random.default_rng(median)
    lengths = np.clip(random.lognormal(np.log(median), 0.9, 3000), 1, 4096).astype(int)
    packs = packs_of([Item(int(length), 0) for length in lengths], 32, 4096, 32)
    fill = [sum(item.tokens for item in pack) / 4096 for pack in packs[:-3]]
    assert np.mean(fill) >= 0.99
    assert np.quantile(fill, 0.05) >= 0.95


def test_packs_cost_the_same_where_views_are_scarce() -> None:
    """Were tokens alone maximised, text would go first and the median pack would be 0.93 full."""
    random = np.random.default_rng(0)
    views = random.choice([0, 1, 5, 5, 9], 3000)
    lengths = random.lognormal(5.6, 0.9, 3000).astype(int) + 32 * views
    items = [Item(min(4096, int(t)), int(v)) for t, v in zip(lengths, views, strict=True)]
    packs = packs_of(items, 32, 4096, 32)[:-3]
    cost = [max(sum(i.tokens for i in p) / 4096, sum(i.views for i in p) / 32) for p in packs]
    assert np.quantile(cost, 0.05) > 0.98


def test_pending_stays_small_when_samples_are_tiny() -> None:
    look: LookAhead[Item] = LookAhead(8, 1000, 4, max_bytes=10**6)
    while look.hungry:
        look.add(Item(3, 0))
    assert len(look.pending) > 300
    look.close()
    assert len(look.pending) <= 8


def test_no_look_ahead_is_refused() -> None:
    with pytest.raises(ValueError, match="look_ahead is 0"):
        LookAhead(0, 10, 10, max_bytes=10**6)


def test_enough_encoded_bytes_are_deep_enough() -> None:
    look: LookAhead[Item] = LookAhead(8, 10, 4, max_bytes=100)
    for encoded_bytes in (60, 30, 20):
        assert look.hungry
        look.add(Item(4, 1, encoded_bytes))
    assert not look.hungry, "110 bytes, and 12 tokens fill a pack"
    assert [item.encoded_bytes for item in look.close()] == [60, 30]
    assert look.hungry
    look.add(Item(1, 0, 1000))
    assert look.hungry, "5 tokens fill no pack, however many bytes they are"
