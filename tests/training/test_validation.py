"""Validation: the loss on other packs, what is best, and that training does not notice it."""

from __future__ import annotations

import attrs
import pytest
import torch

from mmcore.interfaces import World
from mmcore.training.early_stop import EarlyStop
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.measures import Measured
from mmcore.training.progress import Progress
from mmcore.training.validation import Validation, ValidationError
from mmcore_registry import hookimpl

START = Progress(stage="toy")


class Ear:
    def __init__(self) -> None:
        self.reports, self.losses, self.progress = [], [], []

    @property
    def saved(self) -> list[int]:
        return [one.step for one in self.progress]

    @hookimpl
    def mmcore_validated(self, report) -> None:
        self.reports.append(report)

    @hookimpl
    def mmcore_step_end(self, report) -> None:
        self.losses.append(report.values["loss"])


class Packs:
    def __init__(self, pack, numbers, labelled=True) -> None:
        self._packs = [pack(number, labelled) for number in numbers]
        self.blank = attrs.evolve(pack(0, labelled=False), segments=())

    def __len__(self) -> int:
        return len(self._packs)

    def __iter__(self):
        return iter(self._packs)


@pytest.fixture
def go(stage_run, pack):
    def train(
        steps=6,
        early_stop=None,
        stop=lambda: False,
        run=None,
        start=START,
        packs=None,
        **changes,
    ):
        ear, run = Ear(), attrs.evolve(run or stage_run(steps=steps), early_stop=early_stop)
        if changes:
            changes = {"every_steps": 2, **changes}
            packs = packs or Packs(pack, range(90, 95))
            run = attrs.evolve(run, validation=Validation(packs, **changes))
        run = attrs.evolve(run, module=run.engine._module, measured=Measured(sources=["toy"]))
        train_stage(
            run,
            start,
            world=World(),
            hooks=Hooks([ear], World()),
            save=ear.progress.append,
            every_steps=100,
            stop=stop,
        )
        return ear, run

    return train


def test_the_loss_is_the_models_on_those_packs_without_dropout(go, next_token, pack) -> None:
    ear, run = go(steps=2, keep_best="loss")
    model = run.module.model
    assert model.training, "training goes on as before"
    model.eval()
    packs = [pack(number) for number in range(90, 95)]
    with torch.no_grad():
        total = sum(next_token.loss(model, one).item() for one in packs)
    (report,) = ear.reports
    labels = sum(one.labels for one in packs)
    assert report.values["validation/loss"] == pytest.approx(total / labels)
    assert report.values["validation/loss_by_source/toy"] == pytest.approx(total / labels)
    assert report.values["validation/labels"] == labels
    assert report.values["validation/samples"] == 5


def test_it_happens_every_so_many_steps_and_at_the_end(go) -> None:
    assert [one.step for one in go(steps=5, keep_best="")[0].reports] == [2, 4, 5]
    assert [one.step for one in go(steps=4, keep_best="")[0].reports] == [2, 4]


def test_training_does_not_notice(go) -> None:
    assert go()[0].losses == go(keep_best="loss")[0].losses


def test_the_steps_own_samples_are_there_after_a_validation(go) -> None:
    _, alone = go(steps=2)
    _, run = go(steps=2, keep_best="")
    assert len(run.segment_losses.samples()) == 2
    assert run.segment_losses.samples() == alone.segment_losses.samples()


def test_an_early_stop_ends_with_a_validation(go) -> None:
    stop = EarlyStop(measure="loss", patience=1, min_delta=1e9)
    ear, _ = go(steps=50, early_stop=stop, keep_best="", every_steps=1000)
    assert [one.step for one in ear.reports] == [len(ear.losses)] != [50]


def test_a_best_validation_is_saved_at_once(go) -> None:
    ear, _ = go(keep_best="loss")
    losses = [one.values["validation/loss"] for one in ear.reports]
    best = [loss == min(losses[: n + 1]) for n, loss in enumerate(losses)]
    assert [one.best for one in ear.reports] == best
    assert {one.step for one in ear.reports if one.best} | {6} == set(ear.saved)


def test_a_run_that_stops_saves_first_and_is_validated_when_it_goes_on(go) -> None:
    whole, _ = go(keep_best="loss")
    asked = iter([False, False, False, True])
    first, run = go(keep_best="loss", stop=lambda: next(asked))
    assert [one.step for one in first.reports] == [2]
    assert (first.saved, first.progress[-1].validation_due) == ([2, 4], True)
    second, _ = go(keep_best="loss", run=run, start=first.progress[-1])
    assert [one.step for one in second.reports] == [4, 6]
    assert second.saved[0] == 4, "it was the best: its checkpoint is told of, and kept"
    assert not second.progress[0].validation_due
    for name in ("validation/loss", "validation/labels"):
        made = [one.values[name] for one in (*first.reports, *second.reports)]
        assert made == [one.values[name] for one in whole.reports]


def test_an_early_stop_hears_a_validation_that_was_put_off(go) -> None:
    stop = EarlyStop(measure="validation/loss", patience=1, min_delta=1e9)
    asked = iter([False, False, False, True])
    first, run = go(early_stop=stop, keep_best="", stop=lambda: next(asked))
    second, _ = go(early_stop=stop, keep_best="", run=run, start=first.progress[-1])
    assert (second.losses, second.saved) == ([], [4])
    assert second.progress[-1].finished


def test_at_the_end_of_a_stage_nothing_is_put_off(go) -> None:
    asked = iter([False, True])
    ear, _ = go(steps=2, keep_best="", stop=lambda: next(asked))
    assert [one.step for one in ear.reports] == [2]
    assert ear.progress[-1].finished


def test_scores_are_better_when_higher_and_an_earlier_best_counts(go) -> None:
    scores = iter([0.4, 0.3, 0.6])
    ear, _ = go(keep_best="reading", ask=lambda: {"reading": next(scores)})
    assert [one.best for one in ear.reports] == [True, False, True]
    scores = iter([0.4, 0.6, 0.7])
    ear, _ = go(keep_best="reading", best=0.6, ask=lambda: {"reading": next(scores)})
    assert [one.best for one in ear.reports] == [False, False, True]
    assert not any(one.best for one in go(keep_best="loss", best=0.001)[0].reports)


def test_a_loss_that_is_no_number_is_never_the_best(go) -> None:
    ear, _ = go(keep_best="reading", ask=lambda: {"reading": float("nan")})
    assert [one.best for one in ear.reports] == [False, False, False]


def test_rows_of_which_none_can_be_used_are_no_best_loss_but_an_error(go, pack) -> None:
    with pytest.raises(ValidationError, match="step 2, stage 'toy': no held-out row could be used"):
        go(packs=Packs(pack, range(90, 95), labelled=False), keep_best="loss")
