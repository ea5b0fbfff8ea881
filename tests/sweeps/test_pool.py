"""Processes: several at a time, each with its own end, none with another's."""

import signal
import sys
from os import getpid, kill

import pytest

from mmcore.sweeps import pool
from mmcore.sweeps.pool import Job, Pool


class Told:
    def __init__(self):
        self.running, self.most, self.how = 0, 0, {}
        self.on_look = lambda: None

    def started(self, job):
        self.running += 1
        self.most = max(self.most, self.running)

    def ended(self, ended):
        self.running -= 1
        self.how[ended.job.id] = ended

    def looked(self):
        self.on_look()


@pytest.fixture
def python(monkeypatch, tmp_path):
    """``python(id, code)`` -> a job that runs this code instead of a verb."""
    monkeypatch.setattr(pool, "MMCORE", (sys.executable, "-c"))
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.01)

    def job(name, code, done=True):
        return Job(id=name, words=(code,), log=tmp_path / "logs" / f"{name}.txt", done=lambda: done)

    return job


def test_one_that_fails_or_is_killed_costs_no_other(python):
    told = Told()
    jobs = [
        python("raises", "print('on the way'); print('error: no such thing'); raise SystemExit(1)"),
        python("killed", "import os; os.kill(os.getpid(), 9)"),
        python("segfault", "import os; os.kill(os.getpid(), 11)"),
        python("silent", "raise SystemExit(3)"),
        python("fine", "print('well')"),
        python("undone", "pass", done=False),
    ]
    assert Pool(2, lambda slot: {}, told).run(jobs)
    assert told.most == 2
    assert {name: (one.how, one.reason) for name, one in told.how.items()} == {
        "raises": ("failed", "no such thing"),
        "killed": ("failed", "killed by SIGKILL; most often the machine's memory running out"),
        "segfault": ("failed", "killed by SIGSEGV"),
        "silent": ("failed", "exit code 3, without a word"),
        "fine": ("finished", ""),
        "undone": ("stopped", ""),
    }
    assert told.how["fine"].job.log.read_text() == "well\n"


def test_the_reason_is_of_this_start_and_not_of_one_before(python):
    job = python("twice", "raise SystemExit(1)")
    job.log.parent.mkdir()
    job.log.write_text("error: of yesterday\n")
    told = Told()
    Pool(1, lambda slot: {}, told).run([job])
    assert told.how["twice"].reason == "exit code 1, without a word"
    assert job.log.read_text() == "error: of yesterday\n", "logs are added to"


def test_every_slot_has_its_own_environment(python):
    told = Told()
    code = "import os; print(os.environ['SLOT'], os.environ['MMCORE_LAUNCHER'])"
    jobs = [python(name, f"{code}; import time; time.sleep(0.3)") for name in "ab"]
    Pool(2, lambda slot: {"SLOT": str(slot)}, told).run(jobs)
    said = sorted(one.job.log.read_text() for one in told.how.values())
    assert said == [f"0 {getpid()}\n", f"1 {getpid()}\n"]


SAVES = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), sys.exit(0)))
print('ready', flush=True)
time.sleep(60)
"""
DEAF = SAVES.replace("lambda *_: (print('saved', flush=True), sys.exit(0))", "signal.SIG_IGN")


@pytest.mark.parametrize(
    ("code", "presses", "said"), [(SAVES, 1, "ready\nsaved\n"), (DEAF, 2, "ready\n")]
)
def test_ctrl_c_asks_once_and_kills_then(python, code, presses, said):
    told = Told()
    first, second = python("first", code, done=False), python("second", "pass")
    pressed = []

    def press():
        if first.log.read_text() == "ready\n" and len(pressed) < presses:
            pressed.append(kill(getpid(), signal.SIGINT))

    told.on_look = press
    before = signal.getsignal(signal.SIGINT)
    assert not Pool(1, lambda slot: {}, told).run([first, second])
    assert {name: one.how for name, one in told.how.items()} == {"first": "stopped"}
    assert first.log.read_text() == said
    assert signal.getsignal(signal.SIGINT) is before


def test_a_terminal_that_is_closed_lets_jobs_save(python):
    told = Told()
    job = python("saves", SAVES, done=False)
    pressed = []

    def close():
        if not pressed and job.log.read_text() == "ready\n":
            pressed.append(kill(getpid(), signal.SIGHUP))

    told.on_look = close
    assert not Pool(1, lambda slot: {}, told).run([job])
    assert told.how["saves"].how == "stopped"
    assert job.log.read_text() == "ready\nsaved\n"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def test_a_terminal_that_is_closed_stops_nothing_under_nohup(python):
    told = Told()
    told.on_look = lambda: kill(getpid(), signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert Pool(1, lambda slot: {}, told).run([python("fine", "pass")])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert told.how["fine"].how == "finished"


@pytest.mark.parametrize("hung_up", [False, True])
def test_an_error_of_ours_lets_jobs_save_and_leaves_none_behind(python, hung_up):
    """Such as of a full disk, or of a terminal that is gone, which says so and takes no words."""
    told = Told()
    job = python("saves", SAVES, done=False)

    def fail():
        if job.log.read_text():
            if hung_up:
                kill(getpid(), signal.SIGHUP)
            raise OSError("a full disk")

    told.on_look = fail
    with pytest.raises(OSError, match="a full disk"):
        Pool(1, lambda slot: {}, told).run([job])
    assert job.log.read_text() == "ready\nsaved\n"
