"""The processes of a run: where this one stands, and how they tell one another things."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from mmcore.interfaces import World

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


class Ranks:
    """All processes of a run. With one process every exchange answers at once.

    What is exchanged is host data over the CPU's network, apart from the engine's own traffic.
    """

    def __init__(self, world: World, group: distributed.ProcessGroup | None = None) -> None:
        if world.size > 1 and group is None:
            raise RanksError(f"{world.size} processes need a process group: use `connected`")
        self.world = world
        self._group = group

    def gather(self, mine: T) -> list[T]:
        """What every rank said, in the order of the ranks."""
        if self._group is None:
            return [mine]
        answers: list[T | None] = [None] * self.world.size
        distributed.all_gather_object(answers, mine, group=self._group)
        return [answer for answer in answers if answer is not None]

    def sum(self, mine: Sequence[float]) -> list[float]:
        """Elementwise sum over the ranks, in float64."""
        if self._group is None:
            return [float(value) for value in mine]
        total = torch.tensor(list(mine), dtype=torch.float64)
        distributed.all_reduce(total, group=self._group)
        return [float(value) for value in total]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self._group is not None:
            distributed.barrier(group=self._group)


@contextmanager
def connected(world: World) -> Iterator[Ranks]:
    """Start what the ranks need to talk, and tear it down whatever happens.

    With several processes, torch.distributed runs inside: NCCL on GPUs, gloo on CPUs.
    """
    if torch.device(world.device).type == "cuda":
        torch.cuda.set_device(world.device)
    if world.size == 1:
        try:
            yield Ranks(world)
        finally:
            _tear_down()
        return
    if "MASTER_ADDR" not in os.environ and "SLURM_JOB_NODELIST" in os.environ:
        os.environ["MASTER_ADDR"] = first_host(os.environ["SLURM_JOB_NODELIST"])
    os.environ.setdefault("MASTER_PORT", "29500")
    backend = "gloo" if world.device == "cpu" else "nccl"
    distributed.init_process_group(
        backend, rank=world.rank, world_size=world.size, timeout=PATIENCE
    )
    try:
        yield Ranks(world, distributed.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        _tear_down()


def _tear_down() -> None:
    if distributed.is_initialized():  # an engine may have started it on one process, too
        distributed.destroy_process_group()


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step of one rank.

    Seeding anew at every step makes a resumed run draw what an uninterrupted one draws, and
    leaves no generator's state to be saved.
    """
    torch.manual_seed((seed * 1_000_003 + step) * 65_537 + rank)
