"""GPUs by name: memory and peak rates, as their makers publish them."""

from __future__ import annotations

import attrs

from mmcore_registry import nearest


@attrs.frozen
class Gpu:
    """A device.

    Attributes:
        name: as in ``--gpu``.
        memory: bytes, of 10^9 a gigabyte as data sheets count.
        bf16: dense bfloat16 matrix products, in operations per second.
        fp32: float32 ones without TF32, which torch does not use unless told to.
    """

    name: str
    memory: float
    bf16: float
    fp32: float


# NVIDIA's data sheets: "A100 Tensor Core GPU" (SXM), "H100 Tensor Core GPU" (SXM, PCIe),
# "H200 Tensor Core GPU" (SXM), "HGX B200", "L40S", "A10", "RTX A6000"; for the RTX 4090 and 5090
# the architecture white papers "Ada" and "RTX Blackwell" (bf16 with float32 accumulation). Rates
# printed there "with sparsity" are halved.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("a10-24g", 24e9, 125e12, 31.2e12),
        Gpu("a100-40g", 40e9, 312e12, 19.5e12),
        Gpu("a100-80g", 80e9, 312e12, 19.5e12),
        Gpu("a6000-48g", 48e9, 154.8e12, 38.7e12),
        Gpu("b200-180g", 180e9, 2250e12, 75e12),
        Gpu("h100-80g", 80e9, 989e12, 67e12),
        Gpu("h100-pcie-80g", 80e9, 756e12, 51e12),
        Gpu("h200-141g", 141e9, 989e12, 67e12),
        Gpu("l40s-48g", 48e9, 362e12, 91.6e12),
        Gpu("rtx4090-24g", 24e9, 165.2e12, 82.6e12),
        Gpu("rtx5090-32g", 32e9, 209.5e12, 104.8e12),
    )
}


def gpu_named(name: str) -> Gpu:
    """The GPU of this name; what distinguishes it may be enough, as in ``l40s``.

    Raises:
        ValueError: there is none, or several; the message has the nearest names.
    """
    wanted = name.lower()
    found = [gpu for gpu in GPUS.values() if gpu.name == wanted]
    found = found or [gpu for gpu in GPUS.values() if gpu.name.startswith(f"{wanted}-")]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(gpu.name for gpu in found)
        raise ValueError(f"GPU {name!r} may be any of {several}: write one of them")
    close = nearest(wanted, GPUS)
    hint = f"; did you mean {close!r}?" if close else ""
    raise ValueError(
        f"GPU {name!r} is not known{hint} (known are {', '.join(GPUS)}); without a kind the plan "
        "has memory and FLOPs, but neither hours nor fit"
    )


def gpu_of_device(name: str, memory: float) -> Gpu | None:
    """The GPU that a driver calls so, such as ``NVIDIA H100 80GB HBM3``; None: not known.

    Of one name with several sizes, it is the one whose memory is nearest; a device that has much
    less than any, such as a slice of a GPU, is none.
    """
    words = name.lower().replace("geforce", "").replace("-", " ").split()
    joined = " ".join(words)
    pcie = "pcie" in joined or "nvl" in joined
    fitting = [
        gpu
        for gpu in GPUS.values()
        if gpu.name.split("-")[0] in {*words, joined.replace("nvidia", "").replace(" ", "")}
        and ("pcie" in gpu.name) == (pcie and gpu.name.startswith("h100"))
    ]
    near = [gpu for gpu in fitting if abs(memory - gpu.memory) <= 0.12 * gpu.memory]
    return min(near, key=lambda gpu: abs(memory - gpu.memory), default=None)
