"""An engine turns a module and an optimizer into steps, on one process or many."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

import attrs

from mmcore.interfaces.records import PackedBatch
from mmcore.interfaces.world import World
from mmcore_registry import Spec, doc, one_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from mmcore.interfaces.optimizer import OptimizerSpec


@attrs.frozen(eq=False)
class ParameterGroup:
    """Parameters that share a learning rate and a weight decay.

    Attributes:
        part: the component they belong to.
        names: their full names in the module, in order.
        parameters: the parameters, in the same order.
        lr: highest learning rate of the group.
        weight_decay: 0 for norms, biases, embeddings and latents.
    """

    part: str
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    lr: float
    weight_decay: float


@attrs.frozen(eq=False)
class ParameterState:
    """One parameter as a checkpoint holds it.

    Attributes:
        name: full name in the module.
        weight: the full float32 weight on the CPU (of a frozen parameter, in its own dtype).
        moments: the optimizer's tensors of the same shape, by name; empty if it never stepped
            or is frozen.
        steps: how many updates the parameter has had.
    """

    name: str
    weight: torch.Tensor
    moments: Mapping[str, torch.Tensor]
    steps: int


@attrs.frozen
class MemoryItem:
    """A use of a device's memory, and its bytes on the rank that has most of it."""

    name: str
    bytes: int


@attrs.frozen
class EngineMemory:
    """What an engine holds on every device, apart from what a pack's activations take.

    Attributes:
        weights: number format of the module's weights in the forward pass.
        items: what is there while a pack is computed.
        start: bytes at the most before the first step, apart from a parameter on its way.
        backward: what is there beside the items in a backward pass, and not in a forward pass.
        host: what every process holds in the host's memory instead.
    """

    weights: Literal["fp32", "bf16"]
    items: tuple[MemoryItem, ...]
    start: int
    backward: tuple[MemoryItem, ...] = ()
    host: tuple[MemoryItem, ...] = ()


class Engine(Protocol):
    """Accumulates gradients over packs and steps. All calls are made by all ranks, in order."""

    @property
    def device(self) -> torch.device: ...

    def backward(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        """Forward and backward of one pack. The gradient is that of
        ``sum_i weight_i * loss_i / divisors[i]``, where ``divisors`` are the objectives' counts
        over the whole step and all ranks.

        Returns:
            the detached, undivided sums of the objectives on this device, shape (objectives,).
        """

    def evaluate(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        """Forward of one pack as after training: no dropout, no gradient, nothing is changed.

        Returns:
            as ``backward``.
        """

    def step(self, multiplier: float) -> torch.Tensor:
        """Clip by the global norm, update with ``lr * multiplier``, and clear the gradients.

        A gradient that is not finite changes nothing: no weight, no moment.

        Returns:
            the gradient's global norm before clipping, a float32 scalar on the device.
        """

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        """Parameters of the module, frozen ones included, in the module's order.

        All ranks iterate at the same time and to the end, also over what others want; only the
        states that are wanted are copied to the host, and each is complete.

        Args:
            rank, ranks: parameters number ``rank``, ``rank + ranks``, ... are wanted; by default
                all of them.
        """

    def restore(self, states: Iterable[ParameterState]) -> None:
        """Take weights and moments of a checkpoint; every rank is given every state."""

    def close(self) -> None:
        """Let go of weights, gradients and moments; the engine is not used any more."""


@runtime_checkable
class KnowsPartNorms(Protocol):
    """An engine that can also say how large the gradient of every part was."""

    def part_norms(self) -> Mapping[str, torch.Tensor]:
        """By part, the gradient's norm over all ranks in the latest step, before clipping:
        float32 scalars on the device. Empty before the first step."""


@runtime_checkable
class FillingEngine(Engine, Protocol):
    """An engine that gives its module's parameters their storage itself."""

    def fill(self, values: Iterable[tuple[str, Callable[[], torch.Tensor]]]) -> None:
        """Take the values of parameters, one by one; those that are not named keep theirs.

        Args:
            values: names in the module, and what makes the whole value on the CPU. It gives the
                same on every rank, and need not be called on all of them.
        """


@attrs.frozen(kw_only=True)
class EngineSpec(Spec):
    """Describes an engine."""

    kind: ClassVar[str] = "engine"
    fills: ClassVar[bool] = False
    """Whether its engine is a ``FillingEngine``, and takes a module whose parameters are on torch's
    meta device: so that no rank ever has the whole model. Any other is given one with its values,
    on its device."""

    precision: Literal["fp32", "bf16"] = attrs.field(
        default="bf16",
        validator=one_of(["fp32", "bf16"]),
        metadata=doc("number format of the matrix products; master weights are fp32"),
    )

    @property
    @abstractmethod
    def multi_process(self) -> bool:
        """Whether it can run on more than one process."""

    def configuration(self, optimizer: OptimizerSpec) -> Mapping[str, object] | None:
        """What the engine configures the library under it with, in plain values; None where there
        is nothing of the kind. Needs no torch.

        Args:
            optimizer: of the stage.
        """
        return None

    @abstractmethod
    def memory(self, *, trainable: int, frozen: int, moments: int, ranks: int) -> EngineMemory:
        """What the engine would hold of a module; needs no torch.

        Args:
            trainable, frozen: how many parameters learn, and how many do not.
            moments: tensors that the optimizer keeps per parameter.
            ranks: processes, each with a device of its own.
        """

    @abstractmethod
    def build(
        self,
        *,
        module: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: OptimizerSpec,
        world: World,
    ) -> Engine:
        """An engine around ``module``, whose call ``module(batch, divisors)`` returns the scalar
        to differentiate and the detached sums of the objectives."""
