"""The process that waits for its ranks knows which of them failed by itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing import get_context

import click
import pytest

from mmcore.cli import training
from mmcore.cli.training import LOST, Wish, _failed, _passed_on, _wait, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def ends(code: int, after: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(after)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def waited(*ranks: tuple[int, float]) -> dict[int, int]:
    context = get_context("fork")
    processes = [context.Process(target=ends, args=rank) for rank in ranks]
    for process in processes:
        process.start()
    found = _wait(processes)
    assert not any(process.is_alive() for process in processes)
    return found


def test_all_is_well():
    assert waited((0, 0.0), (0, 0.1)) == {}


def test_the_one_that_failed_is_named_and_the_other_ended():
    began = time.monotonic()
    assert waited((0, 60.0), (3, 0.0)) == {1: 3}
    assert time.monotonic() - began < 20


def test_one_that_was_left_alone_may_be_there_first():
    assert waited((LOST, 0.0), (1, 0.4)) == {1: 1}
    assert waited((LOST, 0.0), (-signal.SIGKILL, 0.4)) == {1: -signal.SIGKILL}


def test_one_that_goes_on_after_a_loss_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(training, "GRACE_SECONDS", 0.3)
    assert waited((LOST, 0.0), (0, 60.0)) == {0: LOST}


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({1: 1}, "rank 1 failed; its message is above"),
        ({0: LOST, 1: LOST}, "rank 0, 1 lost the connection to the others, none of which has"),
        ({1: -9}, "killed: rank 1 by SIGKILL; SIGKILL is most often"),
    ],
)
def test_what_the_user_reads_last(codes, said):
    assert _failed(codes).startswith(said)


def listens(pipe):
    """A rank that tells every signal that it is sent, and ends by itself after a while."""
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(one, lambda number, frame: pipe.send(number))
    pipe.send(0)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (["USR1", "USR1", "USR1"], ["USR1", "USR1", "USR1"]),
        (["USR1", "TERM", "USR1", "INT"], ["USR1", "USR1", "USR1", "TERM"]),
        (["INT", "USR1", "TERM"], ["USR1", "USR1", "TERM"]),
        (["TERM", "TERM"], ["USR1", "TERM"]),
    ],
)
def test_signals_that_ask_are_the_ranks_to_heed(sent, heard):
    context = get_context("fork")
    mine, theirs = context.Pipe()
    rank = context.Process(target=listens, args=(theirs,))
    before = signal.getsignal(signal.SIGUSR1)
    with _passed_on([rank]) as asked:
        assert mine.recv() == 0, "it listens"
        for name, wanted in zip(sent, heard, strict=True):
            signal.raise_signal(signal.Signals[f"SIG{name}"])
            assert mine.poll(20)
            assert signal.Signals(mine.recv()).name == f"SIG{wanted}"
    rank.kill()
    rank.join()
    assert [signal.Signals(one).name for one in asked] == [f"SIG{name}" for name in sent]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_procs_within_a_launch_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    with pytest.raises(click.ClickException, match="one of 8 that a launcher has started"):
        train(None, Wish(), procs=2)
