"""The watchdog: who says nothing is ended with its position and stacks; who waits for it, too."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from mmcore.interfaces import World
from mmcore.training import stalls
from mmcore.training.stalls import STALLED, note, watched

# The thread that would end the process ends itself, which is no fault here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

SECONDS = 0.2


@pytest.fixture
def ended(monkeypatch) -> list[int]:
    """Exit codes of processes that were ended; the watching thread ends instead."""
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        sys.exit(code)

    monkeypatch.setattr(stalls.os, "_exit", leave)
    monkeypatch.setattr(stalls, "GRACE_SECONDS", 0.3)
    return codes


def watch(folder: Path, world: World = World(), seconds: float = SECONDS):  # noqa: B008
    return watched(
        folder, world, stage="sft", seconds=seconds, holds=lambda: "worker 0 is at a:b:7"
    )


def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def a_call_that_never_returns(released: threading.Event) -> None:
    released.wait(20)


def test_a_process_that_says_nothing_is_ended_with_all_that_is_known(
    tmp_path, ended, capfd
) -> None:
    with watch(tmp_path, World(rank=1, size=2)):
        note("waiting for data", 6)
        note("waiting for data", 7)
        note("pack 2 of 4: forward and backward")
        released = threading.Event()
        threading.Timer(5, released.set).start()
        threading.Thread(target=until, args=(lambda: released.set() or ended,)).start()
        a_call_that_never_returns(released)
        until(lambda: ended)
    assert ended == [STALLED]
    text = (tmp_path / "stalls" / "step-00000007-rank-00001.txt").read_text()
    for words in (
        "rank 1 of 2 made no progress for",
        "stage 'sft', step 7, pack 2 of 4: forward and backward",
        "data: worker 0 is at a:b:7",
        Path(__file__).name,  # the stack of this thread
    ):
        assert words in text
    told = capfd.readouterr().err
    assert "step 7, pack 2 of 4" in told
    assert "the same command goes on" in told


def test_who_says_something_is_left_alone(tmp_path, ended) -> None:
    with watch(tmp_path, seconds=0.5):
        for step in range(1, 11):
            note("waiting for data", step)
            time.sleep(0.1)
    assert ended == []
    assert not (tmp_path / "stalls").exists()


def test_the_first_step_has_more_time(tmp_path, ended) -> None:
    began = time.monotonic()
    with watch(tmp_path):
        note("waiting for data", 3)
        until(lambda: ended)
    first = time.monotonic() - began
    assert first > 3 * SECONDS


def test_who_waits_for_another_that_has_stalled_ends_soon_after_it(tmp_path, ended) -> None:
    with watch(tmp_path, World(rank=0, size=2), seconds=2.0):
        note("adding up losses over the ranks", 3)
        note("adding up losses over the ranks", 4)
        (tmp_path / "stalls").mkdir()
        began = time.monotonic()
        (tmp_path / "stalls" / "step-00000004-rank-00001.txt").write_text("its words")
        until(lambda: ended)
    assert time.monotonic() - began < 2.0 + 1.0
    names = sorted(path.name for path in (tmp_path / "stalls").iterdir())
    assert names == [f"step-00000004-rank-0000{rank}.txt" for rank in (0, 1)]


def test_a_step_that_stalls_again_is_seen_again(tmp_path, ended) -> None:
    path = tmp_path / "stalls" / "step-00000004-rank-00001.txt"
    path.parent.mkdir()
    path.write_text("of another life")
    with watch(tmp_path, World(rank=0, size=2), seconds=30.0) as _:
        note("adding up losses over the ranks", 3)
        note("adding up losses over the ranks", 4)
        assert stalls._active is not None
        assert not stalls._active._files() - stalls._active._before
        time.sleep(0.02)
        path.write_text("of this life")
        assert stalls._active._files() - stalls._active._before


def test_words_of_an_earlier_stall_end_nobody(tmp_path, ended) -> None:
    (tmp_path / "stalls").mkdir()
    (tmp_path / "stalls" / "step-00000004-rank-00001.txt").write_text("of another life")
    with watch(tmp_path, seconds=0.4):
        for step in range(4, 9):
            note("waiting for data", step)
            time.sleep(0.3)  # longer than half of the time
    assert ended == []


def test_zero_watches_nobody(tmp_path, ended) -> None:
    with watch(tmp_path, seconds=0):
        note("waiting for data", 1)
        time.sleep(0.3)
    assert ended == []


def test_who_cannot_write_its_last_words_ends_all_the_same(tmp_path, ended, capfd) -> None:
    (tmp_path / "stalls").write_text("no folder")
    with watch(tmp_path):
        note("waiting for data", 6)
        note("waiting for data", 7)
        until(lambda: ended)
    assert ended == [STALLED]
    told = capfd.readouterr().err
    for words in ("made no progress", "rank-00000.txt cannot be written", Path(__file__).name):
        assert words in told


def test_readers_that_cannot_say_what_they_do_hold_up_nothing(tmp_path, ended, capfd) -> None:
    def broken() -> str:
        raise RuntimeError("the queue is gone")

    with watched(tmp_path, World(), stage="sft", seconds=SECONDS, holds=broken):
        note("waiting for data", 6)
        note("waiting for data", 7)
        until(lambda: ended)
    assert ended == [STALLED]
    assert "data: unknown (RuntimeError: the queue is gone)" in capfd.readouterr().err


@pytest.fixture
def hanging(monkeypatch):
    """The disk under the run folder hangs, for whoever opens or lists a file, once it is set."""
    hangs, freed, usual = threading.Event(), threading.Event(), {}

    def held(name: str):
        usual[name] = getattr(Path, name)

        def call(self, *args, **options):
            if hangs.is_set() and "stalls" in self.parts:
                freed.wait(20)
            return usual[name](self, *args, **options)

        return call

    for name in ("open", "glob", "mkdir"):
        monkeypatch.setattr(Path, name, held(name))
    yield hangs, freed
    freed.set()


def test_a_run_folder_that_hangs_keeps_nobody_alive(tmp_path, ended, hanging, capfd) -> None:
    hangs, freed = hanging
    with watch(tmp_path):
        note("waiting for data", 6)
        note("waiting for data", 7)
        hangs.set()
        until(lambda: ended)
        assert ended == [STALLED]
        freed.set()
    assert "step 7, waiting for data" in capfd.readouterr().err
