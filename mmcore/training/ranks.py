"""The processes of a run: where this one stands, and how they tell one another things."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed.nn.functional  # see ``distributed``
from torch import distributed as torch_distributed

from mmcore.interfaces import World
from mmcore.training.collectives import wrap_collectives

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a rank waits for another: a large checkpoint is written by one while others wait."""


class RanksError(ValueError):
    """The environment says contradictory things about the processes of this run."""


def world_from_environment(
    environment: Mapping[str, str] = os.environ, device: str | None = None
) -> World:
    """This process as torchrun, DeepSpeed's launcher or ``srun`` describe it; else one process.

    Args:
        device: "cpu" or "cuda"; by default CUDA where there is a GPU.

    Raises:
        RanksError: a variable is missing or is no number, or there are more processes than GPUs.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    else:
        return World(device=_device(device, 0))
    rank, size, local = (_number(environment, name) for name in names)
    if not 0 <= rank < size:
        raise RanksError(f"{names[0]} is {rank}, wanted 0 to {size - 1} ({names[1]} is {size})")
    return World(rank=rank, size=size, local_rank=local, device=_device(device, local))


def _number(environment: Mapping[str, str], name: str) -> int:
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
        raise RanksError(f"local rank {local_rank} has no GPU of its own: {found} found")
    return f"cuda:{local_rank}"


def first_host(nodes: str) -> str:
    """First name of a SLURM node list such as ``gpu[07-09,12],login``."""
    match = re.match(r"([^,\[]+)(?:\[(\w+))?", nodes)
    if match is None:
        raise RanksError(f"SLURM_JOB_NODELIST is {nodes!r}, wanted host names")
    return match[1] + (match[2] or "")


def this_device() -> str:
    """The device of a single process: the first GPU, else the CPU."""
    return _device(None, 0)


_host_group: torch_distributed.ProcessGroup | None = None
"""Over which the ranks exchange host data, apart from the engine's own traffic; None where there
is one process."""


@contextmanager
def distributed(world: World | None = None) -> Iterator[World]:
    """Start what the ranks need to talk, and tear it down whatever happens. By default the world
    is the one that the environment describes.

    With several processes, torch.distributed runs inside: NCCL on GPUs, gloo on CPUs. What the
    functions below exchange goes over gloo. A rank that comes to a good end waits for the others:
    they may still be listening to it.

    A group's threads end with the last reference to it. One that outlives Python's own end kills
    the process by SIGABRT, now and then. The functions of ``torch.distributed.nn`` keep for ever
    the group that runs when they are first imported; so they are imported above, before any runs.
    """
    global _host_group
    world = world or world_from_environment()
    if torch.device(world.device).type == "cuda":
        torch.cuda.set_device(world.device)
    try:
        if world.size > 1:
            if "MASTER_ADDR" not in os.environ and "SLURM_JOB_NODELIST" in os.environ:
                os.environ["MASTER_ADDR"] = first_host(os.environ["SLURM_JOB_NODELIST"])
            os.environ.setdefault("MASTER_PORT", "29500")
            torch_distributed.init_process_group(
                "gloo" if world.device == "cpu" else "nccl",
                rank=world.rank,
                world_size=world.size,
                timeout=PATIENCE,
            )
            wrap_collectives()
            _host_group = torch_distributed.new_group(backend="gloo", timeout=PATIENCE)
        yield world
        barrier()
    finally:
        _host_group = None
        if torch_distributed.is_initialized():  # an engine may have started it for one process
            torch_distributed.destroy_process_group()
            gc.collect()  # engines refer to themselves, and to groups


def gather_objects(mine: T) -> list[T]:
    """What every rank said, in the order of the ranks."""
    if _host_group is None:
        return [mine]
    answers: list[T] = [mine] * torch_distributed.get_world_size(_host_group)
    torch_distributed.all_gather_object(answers, mine, group=_host_group)
    return answers


def sum_floats(mine: Sequence[float]) -> list[float]:
    """Elementwise sum over the ranks, in float64."""
    total = torch.tensor(list(mine), dtype=torch.float64)
    if _host_group is not None:
        torch_distributed.all_reduce(total, group=_host_group)
    return [float(value) for value in total]


def gather_floats(mine: Sequence[float]) -> list[list[float]]:
    """The numbers of every rank, in the order of the ranks, in float64; all have as many."""
    numbers = torch.tensor(list(mine), dtype=torch.float64)
    if _host_group is None:
        return [numbers.tolist()]
    everyone = [
        torch.empty_like(numbers) for _ in range(torch_distributed.get_world_size(_host_group))
    ]
    torch_distributed.all_gather(everyone, numbers, group=_host_group)
    return [one.tolist() for one in everyone]


def barrier() -> None:
    """Wait until every rank is here."""
    if _host_group is not None:
        torch_distributed.barrier(group=_host_group)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step of one rank.

    Seeding anew at every step makes a resumed run draw what an uninterrupted one draws, and
    leaves no generator's state to be saved.
    """
    torch.manual_seed((seed * 1_000_003 + step) * 65_537 + rank)
