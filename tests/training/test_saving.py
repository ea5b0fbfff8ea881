"""Saving in the background: training goes on, one checkpoint is in flight, and errors are told."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmcore.interfaces import ParameterState, World
from mmcore.training import checkpoint, checkpoint_write, saving, stalls
from mmcore.training.checkpoint import CheckpointError
from mmcore.training.checkpoint_write import Keeping
from mmcore.training.progress import Progress
from mmcore.training.saving import Saver


class Weights:
    """An engine with one parameter, which training changes."""

    def __init__(self) -> None:
        self.weight = torch.zeros(3)

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        yield ParameterState("w", self.weight.clone(), {}, 0)


class Disk:
    """Stands before ``write_file``: can be held, and can be full."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.full = False
        self.usual = checkpoint_write.write_file

    def write(self, path: Path, content):
        if path.suffix == ".safetensors":
            assert self.free.wait(20)
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
        return self.usual(path, content)


@pytest.fixture
def disk(monkeypatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(checkpoint_write, "write_file", disk.write)
    return disk


@pytest.fixture
def saved() -> list[int]:
    return []


@pytest.fixture
def engine() -> Weights:
    return Weights()


@pytest.fixture
def saver(tmp_path, saved, engine) -> Saver:
    return make_saver(tmp_path, engine, saved)


def make_saver(root: Path, engine: Weights, saved: list[int], background: bool = True) -> Saver:
    return Saver(
        root,
        engine=engine,
        lanes=lambda: {0: {"row": 1}},
        world=World(),
        keeping=Keeping(last=2, every=4),
        keep_stages=True,
        background=background,
        loras={},
        saved=lambda path, step: saved.append(step),
    )


def states(root: Path) -> tuple[int, list[float]]:
    found = checkpoint.load(checkpoint.latest(root))
    found.verify()
    return found.progress.step, next(found.states()).weight.tolist()


def test_training_goes_on_and_what_is_saved_is_of_the_step(
    saver, disk, engine, saved, tmp_path
) -> None:
    disk.free.clear()
    saver.save(Progress(step=1))
    engine.weight += 7  # the next step
    saver.look()
    assert (saved, checkpoint.latest(tmp_path)) == ([], None)
    disk.free.set()
    saver.look(wait=True)
    assert saved == [1]
    assert states(tmp_path) == (1, [0.0, 0.0, 0.0])


def test_until_all_have_written_ranks_exchange_a_number(saver, disk, saved, monkeypatch) -> None:
    told: list[object] = []
    usual = saving.gather_objects
    monkeypatch.setattr(saving, "gather_objects", lambda mine: told.append(mine) or usual(mine))
    disk.free.clear()
    saver.save(Progress(step=1))
    for _ in range(3):
        saver.look()
    assert told == []
    disk.free.set()
    saver.look(wait=True)
    assert (len(told), saved) == (1, [1])


def test_only_one_is_in_flight(saver, disk, engine, saved, tmp_path) -> None:
    disk.free.clear()
    saver.save(Progress(step=1))
    threading.Timer(0.2, disk.free.set).start()
    engine.weight += 1
    saver.save(Progress(step=2))  # waits for the first
    assert saved == [1]
    saver.look(wait=True)
    assert states(tmp_path) == (2, [1.0, 1.0, 1.0])


def test_a_full_disk_is_told_at_the_next_look_with_what_is_left(
    saver, disk, saved, tmp_path
) -> None:
    saver.save(Progress(step=1))
    saver.look(wait=True)
    disk.full = True
    saver.save(Progress(step=2))
    with pytest.raises(CheckpointError) as told:
        saver.look(wait=True)
    for words in ("step 2 was not saved", "No space left", "step-00000001 is whole", "make room"):
        assert words in str(told.value)
    assert states(tmp_path)[0] == 1
    disk.full = False
    saver.save(Progress(step=3))
    saver.look(wait=True)
    assert saved == [1, 3]
    assert not list(tmp_path.glob(".writing-*"))


def test_an_error_of_the_writer_is_not_lost(saver, monkeypatch) -> None:
    def broken(path: Path, content: object) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(checkpoint_write, "write_file", broken)
    saver.save(Progress(step=1))
    with pytest.raises(CheckpointError, match="RuntimeError: the disk is on fire"):
        saver.look(wait=True)


def test_every_so_many_steps_one_is_kept_for_good(saver, tmp_path) -> None:
    for step in range(1, 11):
        saver.save(Progress(step=step))
    saver.look(wait=True)
    kept = sorted(path.name for path in tmp_path.glob("step-*"))
    assert kept == [f"step-{step:08d}" for step in (4, 8, 9, 10)]


def test_verifying_is_shared_out(saver, tmp_path) -> None:
    saver.save(Progress(step=1))
    saver.look(wait=True)
    path = checkpoint.latest(tmp_path)
    (path / "lanes.json").write_text('{"0":{"row":2}}')
    found = checkpoint.Checkpoint(path, Progress(), {}, checkpoint.load_manifest(path))
    faults = []
    for rank in range(3):
        try:
            found.verify(rank, 3)
        except CheckpointError as error:
            faults.append(str(error))
    assert len(faults) == 1
    assert "lanes.json" in faults[0]


@pytest.fixture
def ended(monkeypatch, tmp_path) -> Iterator[list[int]]:
    """Exit codes that a watchdog ended this process with, which may say nothing for 0.2 s."""
    codes: list[int] = []
    monkeypatch.setattr(stalls.Watch, "_end", lambda self: codes.append(stalls.STALLED))
    with stalls.watched(tmp_path, World(), stage="sft", seconds=0.2, holds=str):
        stalls.note("waiting for data", 1)
        stalls.note("waiting for data", 2)  # the first step has more time
        yield codes


def slow(action):
    """The same, three times as late as is allowed: another rank, or a disk, takes its time."""

    def later(*args):
        time.sleep(0.6)
        return action(*args)

    return later


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(
    "slow_one",
    [
        (saving, "gather_objects"),  # another rank still writes its share
        (checkpoint_write, "gather_objects"),
        (checkpoint_write, "write_file"),
        (saving, "barrier"),  # rank 0 keeps the best one
    ],
    ids=["told", "completed", "written", "kept"],
)
def test_a_slow_save_is_no_stall(
    tmp_path, engine, saved, ended, monkeypatch, slow_one, background
) -> None:
    module, name = slow_one
    monkeypatch.setattr(module, name, slow(getattr(module, name)))
    saver = make_saver(tmp_path / "checkpoints", engine, saved, background=background)
    saver.save(Progress(step=2))
    saver.look(wait=True)
    assert (saved, ended) == ([2], [])
    time.sleep(0.5)
    assert ended, "after the save the watchdog is as strict as before"
