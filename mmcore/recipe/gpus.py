"""Which NVIDIA GPUs a process here would see, asked of the driver itself: torch is not imported."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import attrs

BF16 = (8, 0)
"""The first compute capability with bfloat16 matrix products."""

_LIBRARY = "libnvidia-ml.so.1"


@attrs.frozen
class Gpu:
    """One GPU.

    Attributes:
        name: as the driver calls it.
        capability: major and minor; None where the driver does not tell.
    """

    name: str
    capability: tuple[int, int] | None


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine that ``CUDA_VISIBLE_DEVICES`` leaves to a process.

    NVML comes with every NVIDIA driver, so a machine without it has no usable GPU. The variable's
    numbers are read in NVML's order, which is CUDA's with ``CUDA_DEVICE_ORDER=PCI_BUS_ID``;
    ids of another form (``GPU-...``, ``MIG-...``) are taken to mean any of them.
    """
    gpus = _all_gpus()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return gpus
    words = [word.strip() for word in chosen.split(",") if word.strip()]
    if not words or words[0] == "-1":
        return ()
    if all(word.isdecimal() for word in words):
        return tuple(gpus[int(word)] for word in words if int(word) < len(gpus))
    return gpus


@cache
def _all_gpus() -> tuple[Gpu, ...]:
    try:
        nvml = ctypes.CDLL(_LIBRARY)
    except OSError:  # no driver
        return ()
    if nvml.nvmlInit_v2() != 0:
        return ()
    try:
        count = ctypes.c_uint()
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
            return ()
        return tuple(_gpu(nvml, index) for index in range(count.value))
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: ctypes.CDLL, index: int) -> Gpu:
    handle, name = ctypes.c_void_p(), ctypes.create_string_buffer(96)
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle))
    nvml.nvmlDeviceGetName(handle, name, ctypes.c_uint(len(name)))
    told = nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor))
    label = name.value.decode(errors="replace") or f"GPU {index}"
    return Gpu(label, (major.value, minor.value) if told == 0 else None)
