"""Give a module's parameters their storage on this rank: all of it, or under ZeRO 3 a share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import distributed, nn

from mmcore.interfaces import World
from mmcore.kit.unfilled import become


def place(module: nn.Module, device: torch.device, dtype: torch.dtype | None = None) -> None:
    """Move a module to a device. Parameters without storage get one there, of zeros.

    Args:
        dtype: of the new storages; by default that of the parameter.
    """
    for parameter in module.parameters():
        _place(parameter, device, dtype)
    module.to(device)


def place_shares(
    module: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    configuration: Mapping[str, object],
) -> None:
    """The same under ZeRO 3: every parameter is whole for as long as it takes to share it out.

    Args:
        configuration: DeepSpeed's.
    """
    from deepspeed import zero

    # DeepSpeed goes through the parameters one by one, and is done with one before the next.
    zero.Init(
        module=_Placing(module.parameters(), device, dtype),
        config_dict_or_path=dict(configuration),
        dtype=dtype,
    )
    for buffer in module.buffers():
        buffer.data = buffer.data.to(device)


class _Placing(nn.Module):
    """Places the parameters of another module as they are asked for."""

    def __init__(
        self, others: Iterable[nn.Parameter], device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self._others, self._device, self._dtype = others, device, dtype

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        for parameter in self._others:
            _place(parameter, self._device, self._dtype)
            parameter.data = parameter.data.to(self._dtype)
            yield parameter


def _place(parameter: nn.Parameter, device: torch.device, dtype: torch.dtype | None) -> None:
    if parameter.is_meta:
        wanted = parameter.dtype if dtype is None else dtype
        become(parameter, torch.zeros(parameter.shape, dtype=wanted, device=device))
    else:
        parameter.data = parameter.data.to(device)


def value_for_all(
    make: Callable[[], torch.Tensor],
    shape: torch.Size,
    dtype: torch.dtype,
    device: torch.device,
    world: World,
) -> torch.Tensor:
    """The value on every rank, of which the first one makes it."""
    if world.size == 1:
        return make().to(device, dtype)
    if world.is_main:
        value = make().to(device, dtype).contiguous()
    else:
        value = torch.empty(shape, dtype=dtype, device=device)
    distributed.broadcast(value.view(-1).view(torch.uint8), src=0)
    return value
