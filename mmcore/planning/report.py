"""What a plan says, as records that programs read; people are shown them by the command."""

from __future__ import annotations

import attrs

from mmcore.interfaces import MemoryItem
from mmcore.planning.gpus import Gpu

SPARE = 0.05
"""Share of a GPU's memory that stays free: CUDA's context, NCCL, what the allocator cannot use."""


@attrs.frozen
class PartPlan:
    """A part of the model in a stage: its component, and how many parameters it has and learn."""

    part: str
    component: str
    parameters: int
    trainable: int

    @property
    def frozen(self) -> int:
        return self.parameters - self.trainable


@attrs.frozen
class TokenPlan:
    """What pictures and packs come to.

    Attributes:
        per_view: tokens of a tile or thumbnail.
        views_per_picture: at the largest grid, thumbnail included.
        per_picture: at the largest grid.
        pack, views_of_pack, samples_of_pack: of the full pack that is measured.
        per_step: of all packs of a step, if they are full.
    """

    per_view: int
    views_per_picture: int
    per_picture: int
    pack: int
    views_of_pack: int
    samples_of_pack: int
    per_step: int


@attrs.frozen
class MemoryPlan:
    """The memory of the GPU that needs most.

    Attributes:
        items: what is held at the worst moment of a step, in bytes.
        start: bytes before the first step, when the engine has been built.
        host: what the GPU's process holds in the host's memory instead.
    """

    items: tuple[MemoryItem, ...]
    start: int
    host: tuple[MemoryItem, ...] = ()

    @property
    def step(self) -> int:
        return sum(item.bytes for item in self.items)

    @property
    def most(self) -> int:
        return max(self.step, self.start)

    def fits(self, gpu: Gpu) -> bool:
        return self.most <= gpu.memory * (1 - SPARE)


@attrs.frozen
class FlopPlan:
    """Floating-point operations of all packs of a step together."""

    forward: int
    backward: int
    recompute: int

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.recompute


@attrs.frozen
class Change:
    """Something that would lower the memory, and the bytes that it would lower it to."""

    change: str
    bytes: int
    fits: bool


@attrs.frozen(kw_only=True)
class StagePlan:
    """One stage.

    Attributes:
        name: of the stage.
        parts: of the model.
        tokens: see there.
        memory: of the GPU that needs most.
        packs_per_step: of all GPUs.
        packs_per_gpu: of the GPU that has most of them in a step.
        flops: of a step.
        steps: how many the stage has, if its packs are full; None where only the data can tell.
        seconds: of the stage; None without a GPU, or without ``steps``.
        fits: into the GPU; None without one.
        changes: what would help where it does not fit.
        notes: what else should be known.
    """

    name: str
    parts: tuple[PartPlan, ...]
    tokens: TokenPlan
    memory: MemoryPlan
    packs_per_step: int
    packs_per_gpu: int
    flops: FlopPlan
    steps: int | None
    seconds: float | None
    fits: bool | None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Plan:
    """A recipe on so many GPUs.

    Attributes:
        recipe: its name.
        gpus: how many.
        gpu: of which kind, if one was named.
        peak: the kind's rate in the recipe's number format, in operations per second.
        mfu: the share of it that is reached.
        stages: in order.
    """

    recipe: str
    gpus: int
    gpu: Gpu | None
    peak: float | None
    mfu: float
    stages: tuple[StagePlan, ...]

    @property
    def memory(self) -> int:
        """Bytes on the fullest GPU in the stage that needs most."""
        return max(stage.memory.most for stage in self.stages)

    @property
    def fits(self) -> bool | None:
        """Whether every stage does; None without a GPU."""
        return None if self.gpu is None else all(stage.fits for stage in self.stages)

    @property
    def flops(self) -> int | None:
        """Of all stages; None where the steps of one are not known."""
        of_stages = [stage.flops.total * stage.steps for stage in self.stages if stage.steps]
        return sum(of_stages) if len(of_stages) == len(self.stages) else None

    @property
    def seconds(self) -> float | None:
        """Of all stages; None where those of one are not known."""
        known = [stage.seconds for stage in self.stages if stage.seconds is not None]
        return sum(known) if len(known) == len(self.stages) else None

    def to_dict(self) -> dict[str, object]:
        """Everything in plain values: bytes, operations, seconds."""
        return {
            "recipe": self.recipe,
            "gpus": self.gpus,
            "gpu": attrs.asdict(self.gpu) if self.gpu else None,
            "peak_flops_per_second": self.peak,
            "mfu": self.mfu,
            "stages": [_stage_dict(stage) for stage in self.stages],
            "memory_bytes": self.memory,
            "flops": self.flops,
            "seconds": self.seconds,
            "gpu_hours": None if self.seconds is None else self.seconds * self.gpus / 3600,
            "fits": self.fits,
        }


def _stage_dict(stage: StagePlan) -> dict[str, object]:
    return {
        "name": stage.name,
        "parts": [attrs.asdict(part) | {"frozen": part.frozen} for part in stage.parts],
        "tokens": attrs.asdict(stage.tokens),
        "memory": {
            "items": [attrs.asdict(item) for item in stage.memory.items],
            "step_bytes": stage.memory.step,
            "start_bytes": stage.memory.start,
            "host_items": [attrs.asdict(item) for item in stage.memory.host],
        },
        "packs_per_step": stage.packs_per_step,
        "packs_per_gpu": stage.packs_per_gpu,
        "flops_per_step": attrs.asdict(stage.flops) | {"total": stage.flops.total},
        "steps": stage.steps,
        "seconds": stage.seconds,
        "fits": stage.fits,
        "changes": [attrs.asdict(change) for change in stage.changes],
        "notes": list(stage.notes),
    }
