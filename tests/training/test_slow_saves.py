"""Two real processes: one with a slow disk ends neither itself nor the one that waits for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mmcore.training import checkpoint

PROGRAM = Path(__file__).parent / "programs" / "slow_disk.py"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["background", "before-going-on"])
def test_a_slow_save_is_no_stall_of_any_rank(tmp_path, how) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path), how],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(errors)
    found = checkpoint.load(checkpoint.latest(tmp_path / "checkpoints"))
    found.verify()
    assert [state.name for state in found.states()] == ["layer.0", "layer.1"]
    assert not (tmp_path / "stalls").exists()
