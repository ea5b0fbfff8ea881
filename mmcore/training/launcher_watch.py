"""A rank ends when its launcher is gone: nobody else would end it, and nobody hears it.

A launcher that is killed outright takes no rank with it by itself; they would train on, unseen,
and hold the GPUs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping

VARIABLE = "MMCORE_LAUNCHER"
"""In a rank of ``--procs``: the process that waits for it."""

WAITING = ("TORCHELASTIC_RUN_ID", "CROSS_RANK")
"""Set by launchers that wait for their ranks on the same host: torchrun, DeepSpeed's. Where a
script sets the variables of the ranks by itself, it may well end before they do; and SLURM ends
what it started."""

EVERY_SECONDS = 0.5


def end_with_launcher(environment: Mapping[str, str] = os.environ) -> None:
    """From here on this process ends, with exit code 1, when its launcher has; where it has one."""
    if VARIABLE in environment:
        launcher = int(environment[VARIABLE])
    elif any(name in environment for name in WAITING):
        launcher = os.getppid()
    else:
        return
    threading.Thread(target=_watch, args=(launcher,), name="launcher watch", daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(EVERY_SECONDS)
    with contextlib.suppress(OSError):  # the launcher may have been the reader
        text = f"error: process {os.getpid()} ends, as its launcher (process {launcher}) is gone"
        print(text, file=sys.stderr, flush=True)
    os._exit(1)  # nothing is asked, and nothing waited for: other ranks may be gone already
