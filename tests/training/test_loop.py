"""The loop: what it reports, when it stops, and that a resumed run is the same run."""

from __future__ import annotations

import math

import pytest
import torch

from mmcore.interfaces import StepReport, World
from mmcore.training import checkpoint
from mmcore.training.checkpoint_write import Header, Keeping
from mmcore.training.guards import DivergedError, TooManyRejectedError
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Progress
from mmcore_registry import hookimpl


def depends_on_the_clock(name: str) -> bool:
    return "second" in name or name.startswith(("time/", "memory/")) or name == "data_wait_share"


START = Progress(stage="toy")


class Ear:
    def __init__(self) -> None:
        self.reports: list[StepReport] = []
        self.rejected: list[tuple[int, str, str]] = []
        self.saved: list[int] = []

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        self.reports.append(report)

    @hookimpl
    def mmcore_sample_rejected(self, step: int, key: str, reason: str) -> None:
        self.rejected.append((step, key, reason))

    def measured(self) -> list[dict[str, float]]:
        """All that does not depend on the clock, exactly."""
        return [
            {name: value for name, value in one.values.items() if not depends_on_the_clock(name)}
            for one in self.reports
        ]


def go(run, ear, *, progress=START, root=None, every=100, stop=lambda: False):
    def save(now: Progress) -> None:
        ear.saved.append(now.step)
        if root is None:
            return
        checkpoint.save(
            root,
            engine=run.engine,
            header=Header(progress=now),
            lanes={0: run.loader.position},
            world=World(),
            keeping=Keeping(last=3),
        )

    return train_stage(
        run,
        progress,
        world=World(),
        hooks=Hooks([ear], World()),
        save=save,
        every_steps=every,
        stop=stop,
    )


def test_a_stage_learns_and_reports_every_step(stage_run) -> None:
    ear = Ear()
    run = stage_run(steps=60)
    progress = go(run, ear)
    losses = [report.values["loss"] for report in ear.reports]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert progress.finished
    assert (progress.step, progress.samples) == (60, 120)
    assert [report.step for report in ear.reports] == list(range(1, 61))
    assert ear.reports[-1].progress == 1.0
    assert ear.reports[0].values["lr"] == 0.05 * run.optimizer.multiplier(0, 0.0)
    assert sum(report.values["tokens"] for report in ear.reports) == progress.tokens


def test_the_loss_is_the_mean_over_all_labels_of_the_step(stage_run, toy, next_token, pack) -> None:
    ear = Ear()
    run = stage_run(steps=1)
    run.engine._module.model.eval()
    toy.eval()
    go(run, ear)
    packs = [pack(0), pack(1)]
    total = sum(next_token.loss(toy, one).item() for one in packs)
    assert ear.reports[0].values["loss"] == pytest.approx(total / sum(p.labels for p in packs))


def test_a_resumed_run_is_the_same_run_bit_for_bit(stage_run, tmp_path) -> None:
    whole, first, second = Ear(), Ear(), Ear()
    uninterrupted = stage_run(steps=8)
    go(uninterrupted, whole)
    asked = iter([False, False, True])
    stopped = go(stage_run(steps=8), first, root=tmp_path, stop=lambda: next(asked))
    assert not stopped.finished
    assert stopped.step == 3
    torch.rand(7)  # whatever else draws in between
    found = checkpoint.latest(tmp_path)
    assert found is not None
    saved = checkpoint.load(found)
    assert saved.progress == stopped
    run = stage_run(position=saved.lanes[0], steps=8)
    run.engine.restore(saved.states())
    done = go(run, second, progress=saved.progress)
    assert done.finished
    assert first.measured() + second.measured() == whole.measured()
    for one, other in zip(
        run.engine.parameter_states(), uninterrupted.engine.parameter_states(), strict=True
    ):
        assert torch.equal(one.weight, other.weight), one.name
        assert all(torch.equal(one.moments[key], other.moments[key]) for key in other.moments)
        assert one.steps == other.steps


def test_a_signal_in_a_step_is_heard_at_its_end(stage_run, monkeypatch) -> None:
    asked, run = [False], stage_run(steps=8)
    usual = run.engine.step

    def step(multiplier: float) -> torch.Tensor:
        asked[0] = run.loader.position == 4  # in the second step
        return usual(multiplier)

    monkeypatch.setattr(run.engine, "step", step)
    ear = Ear()
    stopped = go(run, ear, stop=lambda: asked[0])
    assert (stopped.step, ear.saved) == (2, [2])


def test_a_step_without_a_single_label_divides_by_nothing(stage_run, toy_loader) -> None:
    ear = Ear()
    go(stage_run(steps=2, loader=toy_loader(labelled=False)), ear)
    assert [report.values["loss"] for report in ear.reports] == [0.0, 0.0]
    assert [report.values["grad_norm"] for report in ear.reports] == [0.0, 0.0]


def test_rejected_rows_are_told_and_too_many_stop_the_run(stage_run, toy_loader) -> None:
    ear = Ear()
    go(stage_run(steps=1, loader=toy_loader(bad_rows=1)), ear)
    assert ear.rejected == [(1, "toy:shard-0:1000", "image-missing")]
    assert ear.reports[0].values["rejected"] == 1
    with pytest.raises(TooManyRejectedError, match="image-missing"):
        go(stage_run(steps=5, loader=toy_loader(bad_rows=150)), Ear())


def test_a_loss_that_stays_not_finite_stops_the_run_and_changes_nothing(stage_run) -> None:
    run = stage_run(steps=20, max_skipped_in_a_row=3)
    head = dict(run.engine._module.named_parameters())["head.weight"]
    embedding = dict(run.engine._module.named_parameters())["embedding.weight"]
    before = embedding.detach().clone()
    head.data.fill_(math.inf)
    ear = Ear()
    with pytest.raises(DivergedError, match="toy:shard-0:4"):
        go(run, ear)
    assert [report.values["skipped"] for report in ear.reports] == [1, 2, 3]
    assert torch.equal(embedding, before)


def test_it_saves_every_so_many_steps_and_once_at_the_end(stage_run) -> None:
    ear = Ear()
    go(stage_run(steps=5), ear, every=2)
    assert ear.saved == [2, 4, 5]
    ear = Ear()
    go(stage_run(steps=4), ear, every=2)
    assert ear.saved == [2, 4]


def test_a_finished_stage_is_not_trained_further(stage_run) -> None:
    ear = Ear()
    done = go(stage_run(steps=2), ear)
    again = go(stage_run(steps=2), ear, progress=done)
    assert again == done
    assert len(ear.reports) == 2
