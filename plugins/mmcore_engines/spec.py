"""The engines as recipe tables: what each one can do, and what it needs of the machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from mmcore.interfaces import (
    Engine,
    EngineMemory,
    EngineSpec,
    OptimizerSpec,
    ParameterGroup,
    World,
)
from mmcore_engines.deepspeed_config import deepspeed_config
from mmcore_engines.memory import BF16, FP32, ZeroMemory, torch_memory
from mmcore_registry import Problem, doc, one_of

if TYPE_CHECKING:
    from torch import nn

ONE_PROCESS = "or train on one process with --set engine.use=torch"


@attrs.frozen(kw_only=True)
class TorchSpec(EngineSpec):
    """Plain torch: one process on a CPU or one GPU.

    Weights and moments are float32; ``precision = "bf16"`` runs the matrix products under
    autocast. With ``precision = "fp32"`` a run is reproducible bit for bit on the same machine.
    """

    name: ClassVar[str] = "torch"
    fills: ClassVar[bool] = True

    @property
    def multi_process(self) -> bool:
        return False

    def memory(self, *, trainable: int, frozen: int, moments: int, ranks: int) -> EngineMemory:
        return torch_memory(trainable=trainable, frozen=frozen, moments=moments)

    def build(
        self,
        *,
        module: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: OptimizerSpec,
        world: World,
    ) -> Engine:
        """A ``TorchEngine``.

        Raises:
            ValueError: the world has more than one process.
        """
        from mmcore_engines.torch_engine import TorchEngine

        return TorchEngine(
            module=module,
            groups=groups,
            optimizer=optimizer,
            world=world,
            autocast=self.precision == "bf16",
        )


OWNED = {
    "train_batch_size": "the stage's batch.packs_per_step",
    "train_micro_batch_size_per_gpu": "the stage's batch.packs_per_step",
    "gradient_accumulation_steps": "the stage's batch.packs_per_step",
    "managed_gradient_accumulation": "the training loop",
    "gradient_clipping": "the stage's optimizer.clip_norm",
    "optimizer": "the stage's optimizer",
    "scheduler": "the stage's optimizer.schedule",
    "bf16": "engine.precision",
    "fp16": "engine.precision",
    "zero_optimization.stage": "engine.zero",
    "zero_optimization.overlap_comm": "engine.overlap",
    "zero_optimization.offload_optimizer.device": "engine.offload",
    "zero_optimization.offload_param.device": "engine.offload",
}
"""Keys of DeepSpeed's configuration that other keys of the recipe decide."""


def _not_owned(
    _: object, attribute: attrs.Attribute[Mapping[str, object]], value: Mapping[str, object]
) -> None:
    for key in _paths(value):
        if key in OWNED:
            raise ValueError(f"{attribute.name} sets {key!r}, which is decided by {OWNED[key]}")


def _paths(table: Mapping[str, object], before: str = "") -> Iterator[str]:
    """Every key of a table and of the tables in it, as ``outer.inner``."""
    for key, value in table.items():
        yield f"{before}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{before}{key}.")


@attrs.frozen(kw_only=True)
class DeepSpeedSpec(EngineSpec):
    """DeepSpeed: many processes, with weights, gradients and moments shared out by ZeRO.

    The optimizer's weights, moments and gradient sums are float32 in every stage. With
    ``precision = "bf16"`` and ``zero >= 1`` the forward works on bfloat16 copies, and weights that
    do not learn are these alone; with ``zero = 0`` it works on the float32 weights under autocast.
    Buffers stay float32.
    """

    name: ClassVar[str] = "deepspeed"
    fills: ClassVar[bool] = True

    zero: int = attrs.field(
        default=2,
        validator=attrs.validators.in_((0, 1, 2, 3)),
        metadata=doc(
            "what is shared out over the processes: 0 nothing, 1 moments, 2 gradients too, "
            "3 weights too"
        ),
    )
    offload: Literal["none", "optimizer", "all"] = attrs.field(
        default="none",
        validator=one_of(["none", "optimizer", "all"]),
        metadata=doc(
            "what lies in the host's memory and is updated there: nothing, the optimizer's weights "
            "and moments (zero 1 to 3), or the module's weights too (zero 3)"
        ),
    )
    overlap: bool = attrs.field(
        default=True,
        metadata=doc("send gradients while the backward pass goes on (zero 2 and 3)"),
    )
    overrides: dict[str, object] = attrs.field(
        factory=dict,
        validator=_not_owned,
        metadata=doc("merged into DeepSpeed's own configuration, table by table"),
    )

    @property
    def multi_process(self) -> bool:
        return True

    def problems(self) -> Iterator[Problem]:
        least = {"none": 0, "optimizer": 1, "all": 3}[self.offload]
        if self.zero < least:
            yield Problem(
                "offload",
                f"is {self.offload!r}, which takes engine.zero = {least} or more, and it is "
                f"{self.zero}",
                f"--set engine.zero={least}, or --set engine.offload=none",
            )
        yield from self._machine_problems()

    def _machine_problems(self) -> Iterator[Problem]:
        if importlib.util.find_spec("deepspeed") is None:
            yield Problem(
                "use",
                "the package deepspeed is not installed",
                f"pip install deepspeed (Linux, x86_64), {ONE_PROCESS}",
                machine=True,
            )
        compiler = os.environ.get("CXX", "c++")
        if shutil.which(compiler) is None:
            yield Problem(
                "use",
                f"no C++ compiler {compiler!r} on the PATH, and DeepSpeed compiles an operation "
                "at first use",
                f"install g++ or set CXX, {ONE_PROCESS}",
                machine=True,
            )
        if importlib.util.find_spec("ninja") is None:
            yield Problem(
                "use",
                "the package ninja is not installed, and DeepSpeed compiles with it",
                f"pip install ninja, {ONE_PROCESS}",
                machine=True,
            )

    def configuration(self, optimizer: OptimizerSpec) -> dict[str, object]:
        return deepspeed_config(
            zero=self.zero,
            precision=self.precision,
            clip_norm=optimizer.clip_norm,
            overrides=self.overrides,
            offload=self.offload,
            overlap=self.overlap,
        )

    @property
    def _sums_in_float32(self) -> bool:
        """Whether gradients are summed over the packs in float32, as they are by default."""
        types = self.overrides.get("data_types")
        chosen = types.get("grad_accum_dtype") if isinstance(types, Mapping) else None
        return self.precision == "fp32" or self.zero == 0 or chosen in (None, "fp32")

    def memory(self, *, trainable: int, frozen: int, moments: int, ranks: int) -> EngineMemory:
        sharding = self.overrides.get("zero_optimization")
        return ZeroMemory(
            zero=self.zero,
            copies=self.precision == "bf16" and self.zero > 0,
            trainable=trainable,
            frozen=frozen,
            moments=moments,
            ranks=ranks,
            sharding=sharding if isinstance(sharding, Mapping) else {},
            sums=FP32 if self._sums_in_float32 else BF16,
            offload=self.offload,
            overlap=self.overlap,
        ).total()

    def build(
        self,
        *,
        module: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: OptimizerSpec,
        world: World,
    ) -> Engine:
        """A ``DeepSpeedEngine``. With more than one process, torch.distributed is running."""
        from mmcore_engines.deepspeed_engine import DeepSpeedEngine

        return DeepSpeedEngine(
            module=module,
            groups=groups,
            optimizer=optimizer,
            world=world,
            zero=self.zero,
            precision=self.precision,
            configuration=self.configuration(optimizer),
        )
