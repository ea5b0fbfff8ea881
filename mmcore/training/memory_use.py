"""How much memory this process holds, of its host and of its device."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

_STATM = Path("/proc/self/statm")


def memory_use(device: torch.device) -> dict[str, float]:
    """Bytes by name: ``memory/host``, and on CUDA ``memory/peak_allocated`` and
    ``memory/peak_reserved``, the most since the last time. Nothing is waited for."""
    found = {"memory/host": float(_resident())}
    if device.type == "cuda":
        found["memory/peak_allocated"] = float(torch.cuda.max_memory_allocated(device))
        found["memory/peak_reserved"] = float(torch.cuda.max_memory_reserved(device))
        torch.cuda.reset_peak_memory_stats(device)
    return found


def _resident() -> int:
    """Resident memory now; where the system does not say, the most that it ever was."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
