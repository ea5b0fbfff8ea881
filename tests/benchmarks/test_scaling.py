"""The model of a step on many GPUs against cases that can be reckoned by hand."""

import attrs
import pytest

from mmcore.benchmarks.scaling import Fabric, StepCosts, simulate

EVEN = StepCosts(pack_seconds=[0.5], update_seconds=0.0, packs=64)
FREE = Fabric(inside=float("inf"), between=float("inf"), latency=0.0)


def test_even_packs_and_free_links_scale_perfectly():
    for gpus in (1, 8, 64):
        found = simulate(EVEN, FREE, gpus, steps=3)
        assert found.step_seconds == pytest.approx(0.5 * 64 / gpus)
        assert (found.efficiency, found.waiting, found.talking) == pytest.approx((1.0, 0.0, 0.0))


def test_packs_that_do_not_divide_leave_ranks_waiting():
    found = simulate(attrs.evolve(EVEN, packs=9), FREE, 8, steps=3)
    assert found.step_seconds == pytest.approx(1.0)
    assert found.efficiency == pytest.approx(9 / 16)
    assert found.waiting == pytest.approx(7 / 16)


def test_the_slowest_of_many_ranks_sets_the_pace():
    costs = attrs.evolve(EVEN, pack_seconds=[0.4, 0.6])
    one, many = (simulate(costs, FREE, gpus, steps=50) for gpus in (1, 64))
    assert one.efficiency == pytest.approx(1.0, rel=0.01)
    # Of 64 ranks with one pack each, some rank has the longer one in all but 1 of 2**64 steps.
    assert many.step_seconds == pytest.approx(0.6)
    assert many.efficiency == pytest.approx(0.5 / 0.6, rel=0.01)


def test_exchanges_beyond_what_computing_hides_are_added():
    costs = attrs.evolve(EVEN, pack_bytes=100e9, step_bytes=10e9)
    links = Fabric(node=8, inside=1000e9, between=100e9, latency=0.0, hidden=0.5)
    inside = simulate(costs, links, 8, steps=2)
    assert inside.talking == 0.0  # 8 x 0.0875 s and 0.00875 s, behind half of 4 s
    between = simulate(costs, links, 64, steps=2)
    said = (100e9 + 10e9) * 63 / 64 / 100e9
    assert between.step_seconds == pytest.approx(0.5 + said - 0.25)
    assert between.talking == pytest.approx((said - 0.25) / between.step_seconds)


def test_latency_grows_with_the_doublings_of_ranks():
    links = Fabric(inside=float("inf"), between=float("inf"), latency=0.1, hidden=0.0)
    costs = attrs.evolve(EVEN, step_bytes=1.0)
    assert simulate(costs, links, 8, steps=1).step_seconds == pytest.approx(4.0 + 0.3)


def test_an_update_is_shared_out_or_not():
    costs = attrs.evolve(EVEN, update_seconds=1.6)
    assert simulate(costs, FREE, 16, steps=1).step_seconds == pytest.approx(2.0 + 0.1)
    whole = attrs.evolve(costs, update_is_shared=False)
    assert simulate(whole, FREE, 16, steps=1).step_seconds == pytest.approx(2.0 + 1.6)


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(ValueError, match="gpus is 65, wanted 1 to packs = 64"):
        simulate(EVEN, FREE, 65)
    with pytest.raises(ValueError, match="pack_seconds"):
        StepCosts(pack_seconds=[], update_seconds=0.0, packs=1)
