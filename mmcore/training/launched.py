"""What a launcher tells a process of a run by its environment: its place, and where all meet."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch

from mmcore.interfaces import World

PORT = 29500
"""Where the ranks meet if nobody says a port; that of torchrun and DeepSpeed's launcher."""

SLURM_PORTS = range(15000, 31000)
"""Ports from which a job of SLURM has its own, below those that systems give to connections."""

Environment = Mapping[str, str]


class RanksError(ValueError):
    """The environment says contradictory things about the processes of this run."""


def world_from_environment(
    environment: Environment = os.environ, device: str | None = None
) -> World:
    """This process as torchrun, DeepSpeed's launcher or ``srun`` describe it; else one process.

    Args:
        device: "cpu" or "cuda"; by default CUDA where there is a GPU.

    Raises:
        RanksError: a variable is missing or is no number, or there are more processes than GPUs.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif _by_srun(environment):
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    else:
        return World(device=_device(device, 0))
    rank, size, local = (_number(environment, name) for name in names)
    if not 0 <= rank < size:
        raise RanksError(f"{names[0]} is {rank}, wanted 0 to {size - 1} ({names[1]} is {size})")
    return World(rank=rank, size=size, local_rank=local, device=_device(device, local))


def processes_launched(environment: Environment = os.environ) -> int:
    """How many processes a launcher has started for this run; 1 where there was none.

    Raises:
        RanksError: a variable is no number.
    """
    if "WORLD_SIZE" in environment:
        return _number(environment, "WORLD_SIZE")
    return _number(environment, "SLURM_STEP_NUM_TASKS") if _by_srun(environment) else 1


def meeting_point(environment: Environment = os.environ) -> tuple[str, int]:
    """Address and port where rank 0 waits for the others.

    ``MASTER_ADDR`` and ``MASTER_PORT`` where they are set. SLURM sets neither: rank 0 runs on the
    first host of the step, and the port is the job's own, so that two jobs may share a host.

    Raises:
        RanksError: nothing tells the address, or what tells it is no list of hosts.
    """
    address = environment.get("MASTER_ADDR")
    if address is None:
        nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
        if nodes is None:
            raise RanksError("environment variable MASTER_ADDR is not set, wanted rank 0's host")
        address = first_host(nodes)
    if "MASTER_PORT" in environment:
        return address, _number(environment, "MASTER_PORT")
    if _by_srun(environment) and "SLURM_JOB_ID" in environment:
        job, step = (_number(environment, f"SLURM_{one}_ID") for one in ("JOB", "STEP"))
        return address, SLURM_PORTS[(7 * job + step) % len(SLURM_PORTS)]
    return address, PORT


def first_host(nodes: str) -> str:
    """First name of a SLURM node list such as ``gpu[07-09,12],login`` or ``rack[1-2]node[3-4]-ib``.

    Raises:
        RanksError: it is none.
    """
    match = re.match(r"([^,\[\]\s]|\[\w+([-,]\w+)*\])+(?=,|$)", nodes)
    if match is None:
        raise RanksError(f"SLURM's list of nodes is {nodes!r}, wanted host names")
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", match[0])


def this_device() -> str:
    """The device of a single process: the first GPU, else the CPU."""
    return _device(None, 0)


def _by_srun(environment: Environment) -> bool:
    """A batch script outside of ``srun`` is one process, however many tasks the job has."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _number(environment: Environment, name: str) -> int:
    text = environment.get(name)
    if text is None or not text.isdecimal():
        raise RanksError(f"environment variable {name} is {text!r}, wanted a number")
    return int(text)


def _device(wanted: str | None, local_rank: int) -> str:
    kind = wanted or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cpu":
        return kind
    found = torch.cuda.device_count()
    if local_rank >= found:
        raise RanksError(
            f"local rank {local_rank} has no GPU of its own: {found} found. As many processes may "
            "run on a host as it has GPUs, and each must see them all (under SLURM: ask for "
            "--gpus-per-node, not for --gpus-per-task)"
        )
    return f"cuda:{local_rank}"
