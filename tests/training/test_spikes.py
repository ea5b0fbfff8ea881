"""A leap of the loss, what is left out after it, and that both depend on nothing else."""

from __future__ import annotations

import random

import attrs
import pytest

from mmcore.training.discarding import DISCARDED, DiscardingLoader, data_number
from mmcore.training.progress import Progress
from mmcore.training.spikes import ENOUGH, SampleLoss, SpikeGuard, by_source, worst


def test_noise_is_no_spike_and_a_leap_is() -> None:
    draw = random.Random(1)
    guard = SpikeGuard(deviations=10)
    losses = [2 + draw.gauss(0, 0.1) for _ in range(500)]
    for place in range(ENOUGH, 500):
        assert losses[place] <= guard.limit(losses[place - ENOUGH : place])
    limit = guard.limit(losses[:64])
    assert 2.5 < limit < 4
    assert limit < 5


def test_little_is_said_of_few_losses_and_nothing_where_it_is_off() -> None:
    assert SpikeGuard(deviations=10).limit([1.0] * (ENOUGH - 1)) is None
    assert SpikeGuard().limit([1.0] * 64) is None
    # However steady the losses are, a hair's breadth is no spike.
    assert SpikeGuard(deviations=10).limit([1.0] * 64) == pytest.approx(1.1)


def test_losses_are_remembered_across_a_checkpoint_and_earlier_checkpoints_are_read() -> None:
    progress = Progress(stage="a")
    for number in range(70):
        progress = progress.after_step(tokens=1, counts={}, finite=True, loss=number / 3)
    assert progress.losses == tuple(number / 3 for number in range(6, 70))
    assert Progress.from_json(progress.to_json()) == progress
    assert progress.in_stage(1, "b").losses == ()
    old = progress.to_json()
    del old["losses"]
    assert Progress.from_json(old) == attrs.evolve(progress, losses=())


def test_sources_and_samples_are_ranked_by_loss_per_label() -> None:
    samples = [
        SampleLoss("a:1", "a", 10.0, 5),
        SampleLoss("b:1", "b", 9.0, 3),
        SampleLoss("a:2", "a", 30.0, 5),
        SampleLoss("c:1", "c", 0.0, 0),
    ]
    assert by_source(samples) == {"a": 4.0, "b": 3.0}
    assert list(by_source(samples)) == ["a", "b"]
    assert [one.key for one in worst(samples, 2)] == ["a:2", "b:1"]


@pytest.mark.parametrize(
    ("step", "left_out", "number"),
    [(0, {1, 2}, 0), (1, {1, 2}, 3), (3, {2}, 4), (3, set(), 3), (4, {2, 4, 5}, 7)],
)
def test_the_number_of_a_steps_data(step, left_out, number) -> None:
    assert data_number(step, left_out) == number


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_data_is_left_out_wherever_the_run_goes_on(steps, toy_loader) -> None:
    """Data number n of the toy loader begins with pack 2 (n - 1)."""
    left_out = {3, 4}
    inner = toy_loader(position=2 * data_number(steps, left_out))
    loader = DiscardingLoader(inner, left_out, steps)
    firsts, discarded, drawn = [], 0.0, 0.0
    for _ in range(5 - steps):
        data = loader.next_step()
        firsts.append(data.batches[0].segments[0].key.row)
        discarded += data.counts.get(DISCARDED, 0)
        drawn += data.counts["drawn/toy"]
        assert data.counts["samples"] == 2
    assert firsts == [0, 2, 8, 10, 12][steps:]
    assert discarded == (2 if steps < 3 else 0)
    assert drawn == 2 * (5 - steps + discarded)
