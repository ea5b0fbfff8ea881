"""The processes of a run: where this one stands, and how they tell one another things."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed.nn.functional  # see ``distributed``
from torch import distributed as torch_distributed
from torch.distributed.rendezvous import rendezvous

from mmcore.interfaces import World
from mmcore.training.collectives import wrap_collectives
from mmcore.training.launched import (
    RanksError,
    first_host,
    meeting_point,
    this_device,
    world_from_environment,
)
from mmcore.training.launcher_watch import end_with_launcher
from mmcore.training.lost_ranks import AFTER_YOU_SECONDS, LostRankError, naming_lost_ranks

T = TypeVar("T")

PATIENCE = timedelta(hours=2)
"""How long a rank waits for another: a large checkpoint is written by one while others wait."""

MEETING_PATIENCE = timedelta(minutes=15)
"""How long ranks wait at the start until all are there: hosts of a cluster do not start at once."""


__all__ = [
    "LostRankError",
    "RanksError",
    "barrier",
    "distributed",
    "first_host",
    "from_main",
    "gather_bytes",
    "gather_floats",
    "gather_objects",
    "seed_step",
    "this_device",
    "this_rank",
    "world_from_environment",
]


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
    end_with_launcher()
    world = world or world_from_environment()
    if torch.device(world.device).type == "cuda":
        torch.cuda.set_device(world.device)
    try:
        with naming_lost_ranks(world):
            if world.size > 1:
                _meet(world)
                wrap_collectives()
                _host_group = torch_distributed.new_group(backend="gloo", timeout=PATIENCE)
            yield world
            barrier()
    finally:
        _host_group = None
        if torch_distributed.is_initialized():  # an engine may have started it for one process
            torch_distributed.destroy_process_group()
            gc.collect()  # engines refer to themselves, and to groups


def _meet(world: World) -> None:
    """Wait for all ranks at the meeting point, and start torch.distributed.

    Raises:
        RanksError: they are not all there in time.
    """
    address, port = meeting_point()
    os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))  # engines look there, too
    try:
        store, rank, size = next(
            rendezvous("env://", world.rank, world.size, timeout=MEETING_PATIENCE)
        )
    except torch_distributed.DistError as error:
        raise RanksError(
            f"rank {world.rank} of {world.size} did not meet the others at {address}:{port}: "
            f"{str(error).partition(chr(10))[0]}"
        ) from error
    store.set_timeout(PATIENCE)
    torch_distributed.init_process_group(
        "gloo" if world.device == "cpu" else "nccl",
        store=store,
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )


def gather_objects(mine: T) -> list[T]:
    """What every rank said, in the order of the ranks."""
    if _host_group is None:
        return [mine]
    answers: list[T] = [mine] * torch_distributed.get_world_size(_host_group)
    torch_distributed.all_gather_object(answers, mine, group=_host_group)
    return answers


def from_main(make: Callable[[], T]) -> T:
    """What rank 0 makes, told to all; the others make nothing.

    For what is read from files that change while the run goes on: a shared disk may show them to
    one host later than to another, and ranks that decide by them must decide alike.

    Raises:
        LostRankError: on the other ranks, where ``make`` fails; rank 0 raises what it raised.
    """
    if _host_group is None:
        return make()
    rank = torch_distributed.get_rank(_host_group)
    told: list[Any] = [None, False]
    try:
        if rank == 0:
            told = [make(), True]
    finally:
        torch_distributed.broadcast_object_list(told, src=0, group=_host_group)
    answer: T
    answer, made = told
    if not made:
        time.sleep(AFTER_YOU_SECONDS)
        raise LostRankError(f"rank {rank} ends, as rank 0 cannot go on, and says why")
    return answer


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


def this_rank() -> int:
    """Number of this process; 0 where there is one."""
    return 0 if _host_group is None else torch_distributed.get_rank(_host_group)


def gather_bytes(mine: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
    """What lies on the device of every rank, in the order of the ranks; among GPUs, nobody waits
    for the device.

    Args:
        mine: uint8, flat.
        sizes: of all ranks; they may differ.
    """
    if _host_group is None:
        return [mine]
    sent = torch.nn.functional.pad(mine, (0, max(sizes) - len(mine)))
    everyone = [torch.empty_like(sent) for _ in sizes]
    group = _host_group if mine.device.type == "cpu" else None
    torch_distributed.all_gather(everyone, sent, group=group)
    return [one[:size] for one, size in zip(everyone, sizes, strict=True)]


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
