"""AdamW as a recipe table: learning rate, decay and betas of the usual update rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import attrs

from mmcore.interfaces import OptimizerSpec, ParameterGroup
from mmcore_registry import doc

if TYPE_CHECKING:
    from torch.optim import Optimizer


def _decay_rates(
    _: object, attribute: attrs.Attribute[tuple[float, float]], value: tuple[float, float]
) -> None:
    if len(value) != 2 or not all(0.0 <= beta < 1.0 for beta in value):
        raise ValueError(f"{attribute.name} is {value!r}, wanted two numbers in [0, 1)")


@attrs.frozen(kw_only=True)
class AdamWSpec(OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Moments are float32 and have the shape of their parameter.
    """

    name: ClassVar[str] = "adamw"

    betas: tuple[float, float] = attrs.field(
        default=(0.9, 0.999),
        validator=_decay_rates,
        metadata=doc("decay rates of the running mean of the gradient and of its square"),
    )
    eps: float = attrs.field(
        default=1e-8,
        validator=attrs.validators.gt(0),
        metadata=doc("added to the root of the second moment, so that nothing divides by zero"),
    )

    @property
    def moments(self) -> int:
        return 2

    def build(self, groups: Sequence[ParameterGroup]) -> Optimizer:
        """``torch.optim.AdamW``, fused where every parameter lies on a CPU or a CUDA device."""
        import torch

        parameters = [parameter for group in groups for parameter in group.parameters]
        return torch.optim.AdamW(
            [
                {
                    "params": list(group.parameters),
                    "lr": group.lr,
                    "weight_decay": group.weight_decay,
                }
                for group in groups
            ],
            betas=self.betas,
            eps=self.eps,
            fused=all(parameter.device.type in ("cpu", "cuda") for parameter in parameters),
        )
