"""The first signal asks, the second does what it always does."""

from __future__ import annotations

import os
import signal

import pytest

from mmcore.training.stopping import stop_on_signal


def test_the_first_signal_asks_and_the_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_asks_too() -> None:
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()


def test_it_asks_by_itself_after_the_steps_that_were_wanted() -> None:
    with stop_on_signal(after=3) as stop:
        assert [stop(), stop(), stop(), stop()] == [False, False, True, True]


def test_usr1_only_asks_however_often_it_comes() -> None:
    with stop_on_signal() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert stop()
