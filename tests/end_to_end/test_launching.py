"""The same losses whoever launches the ranks; and ranks that end together, with a reason."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is installed on Linux only"),
]

BIN = Path(sys.executable).parent
KEYS = ("engine.use=deepspeed", "engine.zero=2", "engine.precision=fp32")
STEPS = "stages.*.steps=3"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def words(name: str, *more: str) -> list[str]:
    keys = [f"name={name}", STEPS, *KEYS, *more]
    return ["run", "mini.toml", *(word for key in keys for word in ("--set", key))]


class Launches:
    """Starts commands in the workplace's folder; what they started is ended with the test."""

    def __init__(self, workplace) -> None:
        self.workplace = workplace
        self.running: list[subprocess.Popen] = []

    def start(self, *command: object, **variables: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=self.workplace.folder,
            env=self.workplace.environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def finish(self, *processes: subprocess.Popen) -> list[str]:
        outputs = [process.communicate(timeout=280)[0] for process in processes]
        assert [one.returncode for one in processes] == [0] * len(processes), "\n".join(outputs)
        return outputs

    def close(self) -> None:
        for process in self.running:
            for one in (process.pid, *descendants(process.pid)):
                if exists(one):
                    os.kill(one, signal.SIGKILL)
            process.wait()


@pytest.fixture
def launches(workplace):
    made = Launches(workplace)
    yield made
    made.close()


@pytest.fixture
def losses(workplace):
    """Compares a run's losses with those of one process."""
    workplace.mmcore("run", "mini.toml", "--set", "name=one", "--set", STEPS)

    def compare(name: str) -> None:
        expected = workplace.losses("one")
        assert len(expected) == 6
        assert workplace.losses(name) == pytest.approx(expected, rel=1e-5)

    return compare


def descendants(process: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def exists(process: int) -> bool:
    path = Path(f"/proc/{process}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


def ranks_of(process: int) -> list[int]:
    """Descendants that train: they have DeepSpeed's library open."""
    return [one for one in descendants(process) if has_deepspeed(one)]


def has_deepspeed(process: int) -> bool:
    try:
        return "deepspeed_shm_comm" in Path(f"/proc/{process}/maps").read_text()
    except OSError:
        return False


def wait_for(condition, seconds: float = 150.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_torchrun_on_two_hosts(launches, losses):
    endpoint = f"127.0.0.1:{free_port()}"
    hosts = [
        launches.start(
            BIN / "torchrun", "--nnodes", 2, "--node-rank", rank, "--nproc-per-node", 1,
            "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint, "--rdzv-id", "mini",
            "--local-addr", "127.0.0.1", "-m", "mmcore", *words("torchrun"),
        )
        for rank in range(2)
    ]  # fmt: skip
    launches.finish(*hosts)
    losses("torchrun")


def test_the_launcher_of_deepspeed_with_a_file_of_two_hosts(launches, losses, workplace):
    """Typed on each host, as where there is no ssh; with it, it is typed once."""
    (workplace.folder / "hosts").write_text("localhost slots=1\n127.0.0.1 slots=1\n")
    port = free_port()
    hosts = [
        launches.start(
            BIN / "deepspeed", "--hostfile", "hosts", "--no_ssh", "--node_rank", rank,
            "--master_addr", "127.0.0.1", "--master_port", port,
            "--no_local_rank", "--module", "mmcore", *words("hosts"),
            DS_ACCELERATOR="cpu",
        )
        for rank in range(2)
    ]  # fmt: skip
    launches.finish(*hosts)
    losses("hosts")


def test_tasks_of_srun(launches, losses):
    """SLURM itself is not needed: it does no more than set these variables."""
    job = {
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_JOB_NODELIST": "elsewhere[1-9]",
        "SLURM_STEP_NODELIST": "localhost",
    }
    tasks = [
        launches.start(
            sys.executable, "-m", "mmcore", *words("srun"),
            **job, SLURM_PROCID=str(rank), SLURM_LOCALID=str(rank),
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = launches.finish(*tasks)
    losses("srun")
    assert ["finished: runs/srun" in one for one in outputs] == [True, False]


@pytest.mark.parametrize("launcher", ["procs", "torchrun"])
def test_no_rank_outlives_its_launcher(launches, launcher):
    endless = words("orphans", "stages.*.steps=100000")
    if launcher == "procs":
        process = launches.start(sys.executable, "-m", "mmcore", *endless, "--procs", 2)
    else:
        process = launches.start(
            BIN / "torchrun", "--nproc-per-node", 2, "--master-port", free_port(),
            "-m", "mmcore", *endless,
        )  # fmt: skip
    assert wait_for(lambda: len(ranks_of(process.pid)) == 2), process.poll()
    ranks = ranks_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_for(lambda: not any(map(exists, ranks)), 20)


def test_a_killed_rank_is_told_and_the_other_is_not_heard_with_a_traceback(launches, workplace):
    process = launches.start(
        sys.executable, "-m", "mmcore", *words("killed", "stages.*.steps=100000"), "--procs", 2
    )
    metrics = workplace.folder / "runs" / "killed" / "metrics.jsonl"
    assert wait_for(lambda: metrics.exists() and metrics.read_text().count('"loss"') > 2)
    ranks = ranks_of(process.pid)
    os.kill(max(ranks), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: killed: rank 1 by SIGKILL" in output
    assert "Traceback" not in output
    assert not any(map(exists, ranks))


@pytest.mark.parametrize("launcher", ["procs", "torchrun"])
def test_what_only_one_rank_knows_is_what_is_read(launches, workplace, launcher):
    """The folder of a run is rank 0's business; the others wait for it meanwhile."""
    workplace.mmcore("run", "mini.toml", "--set", "name=taken", "--set", "seed=9")
    command = (
        [sys.executable, "-m", "mmcore", *words("taken"), "--procs", 2]
        if launcher == "procs"
        else [
            *(BIN / "torchrun", "--nproc-per-node", 2, "--master-port", free_port()),
            *("-m", "mmcore", *words("taken")),
        ]
    )
    process = launches.start(*command)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    told = [line for line in output.splitlines() if line.startswith("error:")]
    [own] = [line for line in told if line.endswith("runs/taken was made for another recipe:")]
    [other] = [line for line in told if line is not own]
    assert "rank 1 ends, as it lost the connection to another rank" in other
    if launcher == "torchrun":
        assert "rank      : 0 " in output.partition("Root Cause")[2]
    else:
        assert "Error: rank 0 failed; its message is above" in output
        assert "Traceback" not in output
