"""Runs a command that dies with whoever started it: its whole process group, when stdin closes.

Run as a program, by its path, so that it starts at once: ``python leash.py COMMAND ARGUMENT ...``
as the leader of a process group, with a pipe as its stdin that the starter holds open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _kill_when_let_go() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_when_let_go, daemon=True).start()
    code = child.wait()
    # What the command left behind goes too, all but this process, whose code is waited for.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    return code


if __name__ == "__main__":
    code = main()
    # A thread that reads stdin would hold up an ordinary exit.
    os._exit(code if code >= 0 else 128 - code)
