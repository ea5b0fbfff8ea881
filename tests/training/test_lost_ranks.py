"""The rank that failed says why; the one that waited for it, that it was left alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from torch import distributed as torch_distributed

from mmcore.interfaces import World
from mmcore.training import lost_ranks, ranks
from mmcore.training.lost_ranks import LostRankError, naming_lost_ranks
from mmcore.training.ranks import RanksError, distributed

PROGRAM = Path(__file__).parent / "programs" / "left_alone.py"


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_each_of_two_ranks_has_its_own_message():
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [1, 1], said
    errors = [
        [line for line in error.splitlines() if line.startswith("error:")] for _, error in said
    ]
    assert errors[1] == ["error: the disk of rank 1 is full"]
    assert len(errors[0]) == 1
    assert errors[0][0].startswith("error: rank 0 ends, as it lost the connection to another rank")
    host = socket.gethostname()
    for out, error in said:
        assert "Traceback" not in error
        wanted = f"runs/mini/ is missing for rank 1 on {host}, and there for rank 0 on {host}: "
        assert wanted in out  # beside what gloo prints


@pytest.mark.parametrize(
    ("error", "size"),
    [
        (RuntimeError("Connection closed by peer [10.0.0.2]:4"), 1),
        (RuntimeError("The size of tensor a (8) must match"), 2),
        (NotImplementedError("connection closed by peer"), 2),
        (ValueError("connection closed by peer"), 2),
    ],
)
def test_other_errors_stay_what_they_are(error, size):
    with pytest.raises(type(error)) as caught, naming_lost_ranks(World(size=size)):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "said",
    [
        "[pair.cc:547] Connection closed by peer [127.0.0.1]:42405",
        "Read error [10.0.0.1]:3: Connection reset by peer",
        "NCCL communicator was aborted on rank 1.",
    ],
)
def test_words_of_the_backends_are_known(said, monkeypatch):
    monkeypatch.setattr(lost_ranks, "AFTER_YOU_SECONDS", 0.0)
    kind = torch_distributed.DistBackendError if "NCCL" in said else RuntimeError
    lost = pytest.raises(LostRankError, match="rank 3 ends")
    with lost as caught, naming_lost_ranks(World(rank=3, size=4)):
        raise kind(f"{said}\nmore")
    assert said in str(caught.value)
    assert "more" not in str(caught.value)


def test_ranks_that_do_not_meet_say_where_they_waited(monkeypatch):
    monkeypatch.setattr(ranks, "MEETING_PATIENCE", timedelta(seconds=1))
    port = free_port()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", port)
    world = World(rank=1, size=2, local_rank=1, device="cpu")
    wanted = f"rank 1 of 2 did not meet the others at 127.0.0.1:{port}"
    with pytest.raises(RanksError, match=wanted), distributed(world):
        pass
