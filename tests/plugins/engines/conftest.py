"""Runs engines over a toy model, in one process or several, each started as a program."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
COUNTING = """
import os, runpy, sys
program, folder = sys.argv[1:]
sys.argv = [program, folder]
runpy.run_path(program, run_name="__main__")
if os.path.isdir("/proc/self/task"):
    threads = [open(f"/proc/self/task/{one}/comm").read() for one in os.listdir("/proc/self/task")]
    assert len(threads) == 1, f"threads outlive the groups of ranks: {threads}"
"""
"""Runs a program, and fails if threads are left that could outlive Python's own end: that would
kill the process now and then, after all was done."""

Plan = dict[str, object]
Launch = Callable[..., list[dict[str, object]]]


@pytest.fixture(scope="module")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Run the plans one after another on so many processes; what rank 0 saw of each."""

    def start(
        plans: list[Plan], processes: int, program: str = "train_toy.py"
    ) -> list[dict[str, object]]:
        folder = tmp_path_factory.mktemp("launch")
        (folder / "plans.json").write_text(json.dumps(plans))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        running = []
        for rank in range(processes):
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            if processes > 1:
                environment |= {
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(processes),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
            with (folder / f"rank-{rank}.log").open("w") as log:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-c", COUNTING, str(PROGRAMS / program), str(folder)],
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        try:
            codes = [process.wait(timeout=280) for process in running]
        finally:
            for process in running:
                process.kill()
        logs = "\n".join((folder / f"rank-{rank}.log").read_text() for rank in range(processes))
        assert codes == [0] * processes, logs[-6000:]
        outcome: list[dict[str, object]] = json.loads((folder / "outcome.json").read_text())
        return outcome

    return start
