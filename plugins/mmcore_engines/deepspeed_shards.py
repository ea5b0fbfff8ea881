"""Where DeepSpeed keeps the float32 weights and moments, for every ZeRO stage alike.

With ZeRO 0 the optimizer updates the module's parameters themselves. From ZeRO 1 on it updates
flat float32 tensors, of which every rank holds its share; the ``safe_*`` functions of
``deepspeed.utils`` gather one parameter's part of them, or scatter it.
"""

from __future__ import annotations

import torch
from deepspeed import DeepSpeedEngine as Wrapped
from deepspeed import zero as deepspeed_zero
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import distributed, nn
from torch.nn.functional import pad
from torch.optim import Optimizer

from mmcore_engines.moments import create_state, moment_names, set_steps, steps_of

FLAT_TENSORS = (
    "single_partition_of_fp32_groups",  # ZeRO 1 and 2
    "fp32_groups_flat_partition",  # ZeRO 1 with bfloat16 copies
    "fp32_partitioned_groups_flat",  # ZeRO 3
)


class Shards:
    """Reads and writes whole parameters of a wrapped module; every call is made by all ranks."""

    def __init__(self, wrapped: Wrapped, zero: int) -> None:
        self._outer = wrapped.optimizer
        self._zero = zero
        self.optimizer: Optimizer = wrapped.optimizer.optimizer if zero > 0 else wrapped.optimizer
        self._create_state()

    def updated(self) -> list[torch.Tensor]:
        """The tensors that the optimizer updates on this rank."""
        if self._zero == 0:
            return [one for group in self.optimizer.param_groups for one in group["params"]]
        for attribute in FLAT_TENSORS:
            if hasattr(self._outer, attribute):
                return list(getattr(self._outer, attribute))
        kind = type(self._outer).__name__
        raise AssertionError(f"{kind} keeps its float32 weights in none of {FLAT_TENSORS}")

    def moment_names(self) -> list[str]:
        """Names of the moments."""
        return moment_names(self.optimizer, self.updated()[0])

    def steps(self) -> int:
        """How many updates there have been."""
        return steps_of(self.optimizer, self.updated()[0])

    def _create_state(self) -> None:
        """Make moments exist, and known parameter by parameter.

        DeepSpeed itself links them to the parameters after the update of the first group, when
        the other groups have none yet; so they are created before any update.
        """
        tensors = self.updated()
        groups = self.optimizer.param_groups
        if self._zero == 3:
            owners = self._outer.sub_group_to_group_id
            of_groups: list[list[torch.Tensor]] = [[] for _ in groups]
            for index, tensor in enumerate(tensors):
                of_groups[owners[index]].append(tensor)
        else:
            of_groups = [list(group["params"]) for group in groups]
        create_state(self.optimizer, of_groups)
        if self._zero in (1, 2):
            self._outer._lazy_init_hp_params_optimizer_state()
        self.set_steps(0)

    def set_steps(self, steps: int) -> None:
        for tensor in self.updated():
            set_steps(self.optimizer, tensor, steps)

    def weight(self, parameter: nn.Parameter) -> torch.Tensor:
        """The whole weight: float32 if it learns, else in its own dtype."""
        if self._zero > 0 and parameter.requires_grad:
            return _found(safe_get_full_fp32_param(parameter))
        if self._zero == 3:
            with deepspeed_zero.GatheredParameters([parameter]):
                return parameter.detach().clone()
        return parameter.detach()

    def moment(self, parameter: nn.Parameter, name: str) -> torch.Tensor:
        if self._zero == 0:
            return _found(self.optimizer.state[parameter][name])
        return _found(safe_get_full_optimizer_state(parameter, name))

    def set_weight(self, parameter: nn.Parameter, value: torch.Tensor) -> None:
        """Write the module's own copy, and the float32 weight that the optimizer updates."""
        if self._zero == 3:
            with deepspeed_zero.GatheredParameters([parameter], modifier_rank=0):
                parameter.data.copy_(value)
        else:
            parameter.data.copy_(value)
        if self._zero == 0 or not parameter.requires_grad:
            return
        value = value.to(self.updated()[0].device)
        if self._zero == 3:
            safe_set_local_fp32_param(parameter, _own(parameter, value))
        else:
            safe_set_full_fp32_param(parameter, value)

    def set_moment(self, parameter: nn.Parameter, name: str, value: torch.Tensor) -> None:
        if self._zero == 0:
            self.optimizer.state[parameter][name].copy_(value)
            return
        value = value.to(self.updated()[0].device)
        if self._zero == 3:
            safe_set_local_optimizer_state(parameter, _own(parameter, value), name)
        else:
            safe_set_full_optimizer_state(parameter, value, name)


def _own(parameter: nn.Parameter, value: torch.Tensor) -> torch.Tensor:
    """This rank's share of a value under ZeRO 3. Where ranks do not divide a size, DeepSpeed fills
    up the last shares, and its own functions for whole values fail."""
    size: int = parameter.ds_tensor.numel()  # type: ignore[attr-defined]  # DeepSpeed's own
    ranks, rank = distributed.get_world_size(), distributed.get_rank()
    return pad(value.flatten(), (0, size * ranks - value.numel()))[size * rank : size * (rank + 1)]


def _found(tensor: torch.Tensor | None) -> torch.Tensor:
    assert tensor is not None, "DeepSpeed does not know this parameter"
    return tensor
