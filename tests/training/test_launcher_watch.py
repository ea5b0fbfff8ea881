"""A rank whose launcher was killed outright does not go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from mmcore.training.launcher_watch import VARIABLE

RANK = """
import os, sys, time
from mmcore.training.launcher_watch import end_with_launcher
end_with_launcher()
print(os.getpid(), flush=True)
time.sleep(60)
"""
LAUNCHER = f"""
import os, subprocess, sys
os.environ[sys.argv[1]] = str(os.getpid()) if sys.argv[2] == "own" else sys.argv[2]
subprocess.Popen([sys.executable, "-c", {RANK!r}]).wait()
"""


def started(variable: str, value: str) -> tuple[subprocess.Popen, int]:
    """A launcher, and the process number of its rank, which is asleep."""
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, variable, value], stdout=subprocess.PIPE, text=True
    )
    return launcher, int(launcher.stdout.readline())


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@needs_proc
@pytest.mark.parametrize(
    ("variable", "value"), [(VARIABLE, "own"), ("TORCHELASTIC_RUN_ID", "x"), ("CROSS_RANK", "0")]
)
def test_a_rank_ends_with_its_launcher(variable, value):
    launcher, rank = started(variable, value)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    deadline = time.monotonic() + 20
    while alive(rank) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(rank)


@needs_proc
def test_a_process_that_a_shell_put_into_the_background_goes_on():
    launcher, process = started("SHELL_OF_THIS_TEST", "x")
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    time.sleep(1.5)
    assert alive(process)
    os.kill(process, signal.SIGKILL)


@needs_proc
def test_a_launcher_that_was_gone_before_is_noticed():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    done = subprocess.run(
        [sys.executable, "-c", RANK],
        env=os.environ | {VARIABLE: str(gone.pid)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert f"its launcher (process {gone.pid}) is gone" in done.stderr
