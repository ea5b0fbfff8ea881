"""The best checkpoint of a stage: the right one, whole at every moment, and not lost."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
import torch

from mmcore.interfaces import ParameterState, RunInfo, ValidationReport, World
from mmcore.run_folder.best_checkpoint import BestKeeper, keep
from mmcore.run_folder.validation_log import ValidationLog
from mmcore.training.checkpoint import load
from mmcore.training.checkpoint_write import Header, Keeping, save
from mmcore.training.progress import Progress


class Engine:
    """Has one parameter, whose value is said."""

    def __init__(self, value: float) -> None:
        self._value = value

    def parameter_states(self, rank: int = 0, ranks: int = 1):
        yield ParameterState("weight", torch.tensor([self._value]), {}, 1)


def saved(folder: Path, step: int, value: float = 0.0, last: int = 2) -> Path:
    return save(
        folder / "checkpoints",
        engine=Engine(value or step),
        header=Header(progress=Progress(stage="sft", step=step)),
        lanes={0: {}},
        world=World(),
        keeping=Keeping(last=last),
    )


def told(step: int, best: bool = True) -> ValidationReport:
    return ValidationReport("sft", step, {"validation/loss": 1.0}, best)


def found(folder: Path) -> tuple[int, float]:
    """Step and weight of the best checkpoint, after every byte of it was checked."""
    best = load(folder / "checkpoints" / "best-sft")
    best.verify()
    (state,) = best.states()
    return best.progress.step, state.weight.item()


def test_it_is_kept_when_its_checkpoint_is_complete_and_outlives_the_others(tmp_path) -> None:
    keeper = BestKeeper(tmp_path)
    keeper.mmcore_validated(told(2))
    assert not (tmp_path / "checkpoints").exists()
    first = saved(tmp_path, 2)
    keeper.mmcore_checkpoint_saved(first, 2)
    kept = (tmp_path / "checkpoints/best-sft/manifest.json").stat()
    assert kept.st_ino == (first / "manifest.json").stat().st_ino, "linked, not copied"
    for step in (4, 6, 8):
        keeper.mmcore_validated(told(step, best=False))
        keeper.mmcore_checkpoint_saved(saved(tmp_path, step), step)
    assert not first.exists(), "keep_last removed it"
    assert found(tmp_path) == (2, 2.0)
    keeper.mmcore_validated(told(10))
    keeper.mmcore_checkpoint_saved(saved(tmp_path, 10), 10)
    assert found(tmp_path) == (10, 10.0)
    names = sorted(one.name for one in (tmp_path / "checkpoints").iterdir())
    assert names == [
        "best-sft",
        "best-sft.step-00000010",
        "latest",
        "step-00000008",
        "step-00000010",
    ]


def test_a_step_that_is_made_again_replaces_the_one_before(tmp_path) -> None:
    place = tmp_path / "checkpoints" / "best-sft"
    first = saved(tmp_path, 2, 1.0)
    keep(first, place)
    shutil.rmtree(first)
    keep(saved(tmp_path, 2, 5.0), place)
    assert found(tmp_path) == (2, 5.0)
    assert len(list(place.parent.glob("best-sft.*"))) == 1


def going_on(folder: Path, best: bool = True) -> BestKeeper:
    """Of a run whose process was killed after it had saved step 4, before it kept it."""
    keep(saved(folder, 2), folder / "checkpoints" / "best-sft")
    ValidationLog(folder).mmcore_validated(told(4, best=best))
    saved(folder, 4)
    keeper = BestKeeper(folder)
    keeper.mmcore_run_start(RunInfo("run", folder, 4, ""))
    assert found(folder) == (2, 2.0), "the files of step 4 were not looked at yet"
    return keeper


def test_a_process_killed_before_it_kept_the_best_keeps_it_when_it_goes_on(tmp_path) -> None:
    going_on(tmp_path).mmcore_stage_start()
    assert found(tmp_path) == (4, 4.0)


def test_a_run_that_was_finished_keeps_it_too(tmp_path) -> None:
    going_on(tmp_path).mmcore_run_end("finished")
    assert found(tmp_path) == (4, 4.0)


def test_a_checkpoint_that_is_damaged_replaces_no_good_one(tmp_path) -> None:
    going_on(tmp_path).mmcore_run_end("failed")
    assert found(tmp_path) == (2, 2.0)


def test_a_checkpoint_that_was_not_the_best_is_not_kept_when_a_run_goes_on(tmp_path) -> None:
    going_on(tmp_path, best=False).mmcore_stage_start()
    assert found(tmp_path) == (2, 2.0)


class Killed(BaseException):
    pass


CALLS = {name: getattr(os, name) for name in ("link", "rename", "symlink", "mkdir", "unlink")}
"""Calls to the disk that change names."""


@pytest.fixture
def killed_at(tmp_path, monkeypatch):
    """Keeps a checkpoint, looking at what a reader finds after every call, until the call of this
    number: there the process ends. Whether it was killed."""

    def go(moment: int, newest: Path, place: Path) -> bool:
        numbers = count()

        def seen(name: str):
            def call(*args, **options):
                if next(numbers) == moment:
                    raise Killed
                CALLS[name](*args, **options)
                assert found(tmp_path) in ((2, 2.0), (4, 4.0))

            return call

        with monkeypatch.context() as patched, suppress(Killed):
            for name in CALLS:
                patched.setattr(os, name, seen(name))
            keep(newest, place)
            return False
        return True

    return go


def test_killed_at_any_moment_there_is_a_whole_one_and_the_next_start_goes_on(
    tmp_path, killed_at
) -> None:
    place = tmp_path / "checkpoints" / "best-sft"
    old, newest = saved(tmp_path, 2), saved(tmp_path, 4)
    for moment in count():
        keep(old, place)
        killed = killed_at(moment, newest, place)
        assert found(tmp_path) in ((2, 2.0), (4, 4.0))
        saved(tmp_path, 6, last=999)  # which clears what a killed process left behind
        keep(newest, place)
        assert found(tmp_path) == (4, 4.0)
        if not killed:
            break
    assert moment > 8, "links of every file, a link to the folder, and renames"
    assert not list(place.parent.glob(".*"))


def test_a_disk_without_links_has_the_folder_itself(tmp_path, monkeypatch) -> None:
    def refused(*_, **__):
        raise OSError("not supported")

    monkeypatch.setattr(os, "symlink", refused)
    monkeypatch.setattr(os, "link", refused)
    place = tmp_path / "checkpoints" / "best-sft"
    for step in (2, 4):
        keep(saved(tmp_path, step), place)
        assert found(tmp_path) == (step, float(step))
        assert not place.is_symlink()
    monkeypatch.undo()
    keep(saved(tmp_path, 6), place)
    assert found(tmp_path) == (6, 6.0)
    assert place.is_symlink()
