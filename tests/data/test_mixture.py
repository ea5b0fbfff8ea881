"""Shares hold at every moment, in every lane, and for accepted samples only."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data.mixture import Mixture


@settings(deadline=None, max_examples=40)
@given(
    shares=st.lists(st.floats(0.01, 50), min_size=1, max_size=6),
    lane=st.integers(0, 63),
    draws=st.integers(0, 300),
)
def test_every_source_keeps_its_share(shares: list[float], lane: int, draws: int) -> None:
    mixture = Mixture(shares, seed=3, lane=lane)
    for _ in range(draws):
        mixture.accept(mixture.next())
    exact = np.array(shares) / sum(shares) * draws
    assert np.abs(np.array(mixture.accepted) - exact).max() <= len(shares)


def test_a_rejected_draw_is_drawn_from_the_same_source_again() -> None:
    mixture = Mixture([1.0, 1.0], seed=0, lane=0)
    first = mixture.next()
    assert [mixture.next() for _ in range(5)] == [first] * 5
    mixture.accept(first)
    assert mixture.next() != first
    mixture.give_back(first)
    assert mixture.next() == first


def test_it_goes_on_where_it_was() -> None:
    mixture = Mixture([17.5, 3, 0.1], seed=7, lane=5)
    for _ in range(100):
        mixture.accept(mixture.next())
    again = Mixture([17.5, 3, 0.1], seed=7, lane=5, accepted=mixture.accepted)
    for _ in range(100):
        assert again.next() == mixture.next()
        for one in (again, mixture):
            one.accept(one.next())


def test_lanes_are_out_of_phase() -> None:
    """A rare source would else arrive in all lanes in the same step."""
    when = []
    for lane in range(64):
        mixture = Mixture([0.99, 0.01], seed=0, lane=lane)
        step = 0
        while mixture.next() == 0:
            mixture.accept(0)
            step += 1
        when.append(step)
    assert len(set(when)) > 30
    assert 30 < np.mean(when) < 70


def test_all_lanes_together_keep_the_shares_of_the_first_stage_within_a_tenth_of_a_point() -> None:
    """After 10,000 samples over 64 lanes, for several seeds; lanes in phase would be 0.3 off."""
    shares = [17.5, 17.5, 12.5, 2.5, 25, 10, 5, 5, 1.25, 1.25, 1.25, 1.25]
    exact = np.array(shares) / sum(shares) * 100
    for seed in range(3):
        lanes = [Mixture(shares, seed=seed, lane=lane) for lane in range(64)]
        for number in range(10_000):
            lane = lanes[number % 64]
            lane.accept(lane.next())
        drawn = np.sum([lane.accepted for lane in lanes], axis=0) / 100
        assert np.abs(drawn - exact).max() < 0.1
