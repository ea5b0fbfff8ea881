"""The model of a step on many GPUs against cases that can be reckoned by hand."""

import json

import attrs
import pytest

from mmcore.benchmarks.scaling import Fabric, StepCosts, simulate
from mmcore.benchmarks.scaling_costs import Exchange, read_paces, step_costs

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


PACE = {
    "stage": "answers",
    "device": "NVIDIA H100",
    "threads": 2,
    "packs": 6,  # of three steps
    "ways": {
        "packed": {
            "seconds": [2.2, 4.2, 6.2],
            "cpu_seconds": [4.4, 4.4, 8.4],
            "spans": {"backward": 4.0, "update": 0.2},
        }
    },
}


@pytest.mark.parametrize(
    ("zero", "pack_bytes", "step_bytes"),
    [(0, 0, 8000), (1, 0, 8000), (2, 4000, 4000), (3, 2 * 4400 + 4000, 0)],
)
def test_what_ranks_exchange(zero, pack_bytes, step_bytes):
    found = Exchange.of(zero, learning=1000, frozen=100, precision="fp32")
    assert (found.pack_bytes, found.step_bytes) == (pack_bytes, step_bytes)
    half = Exchange.of(zero, learning=1000, frozen=100, precision="bf16")
    assert (half.pack_bytes, half.step_bytes) == (pack_bytes // 2, step_bytes // 2)


def test_costs_are_those_that_were_measured_or_scaled_to_another_device():
    said = Exchange(zero=2, pack_bytes=7, step_bytes=9)
    costs = step_costs(PACE, packs=4, exchanged=said, pack_seconds=None)
    assert costs.pack_seconds == pytest.approx([1.0, 2.0, 3.0])
    assert (costs.update_seconds, costs.packs) == (pytest.approx(0.2), 4)
    assert (costs.pack_bytes, costs.step_bytes, costs.update_is_shared) == (7, 9, True)
    costs = step_costs(PACE, packs=4, exchanged=said, pack_seconds=0.2)
    assert costs.pack_seconds == pytest.approx([0.1, 0.2, 0.3])
    assert costs.update_seconds == pytest.approx(0.02)
    costs = step_costs(PACE | {"device": "cpu"}, packs=4, exchanged=said, pack_seconds=None)
    update = (2.2 + 2.2 + 4.2) / 3 * 0.2 / 4.2
    assert costs.pack_seconds == pytest.approx([(one - update) / 2 for one in (2.2, 2.2, 4.2)])


def test_an_update_longer_than_its_step_is_no_measurement():
    uneven = {"seconds": [0.1, 9.0], "spans": {"backward": 1.0, "update": 1.0}}
    pace = PACE | {"ways": {"packed": uneven}}
    with pytest.raises(ValueError, match="quiet machine"):
        step_costs(pace, packs=4, exchanged=Exchange(0, 0, 0), pack_seconds=None)


@pytest.mark.parametrize("text", ["{", "[{}]", "3", json.dumps([PACE | {"packs": "six"}])])
def test_a_file_without_a_pace_says_so(tmp_path, text):
    path = tmp_path / "pace.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not what `mmcore bench RECIPE --json` prints"):
        read_paces(path)
