"""What this machine has, and how the cells that run at the same time share it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of(parallel: int, procs: int, environment: Mapping[str, str] = os.environ) -> int:
    """Threads of every process: what OMP_NUM_THREADS says, or else an equal share of the cores."""
    said = environment.get("OMP_NUM_THREADS", "")
    if said.isdecimal() and int(said) >= 1:
        return int(said)
    return max(1, cores() // (parallel * procs))


def cpu_name() -> str:
    """The processor, as it calls itself."""
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def visible_devices(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The GPUs that this process may use, by what CUDA_VISIBLE_DEVICES calls them."""
    said = environment.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return tuple(one.strip() for one in said.split(",") if one.strip())
    import torch

    return tuple(str(number) for number in range(torch.cuda.device_count()))


def devices_of(slot: int, procs: int, parallel: int, devices: Sequence[str]) -> tuple[str, ...]:
    """The GPUs of the cell in this slot: its own, where there are enough for all slots.

    Where there are fewer, cells share them in turn, one process a GPU; none where there are none,
    or where one cell runs at a time and may have them all.
    """
    if not devices or parallel == 1:
        return ()
    first = slot * procs
    return tuple(dict.fromkeys(devices[(first + n) % len(devices)] for n in range(procs)))
