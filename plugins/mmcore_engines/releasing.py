"""Give a finished engine's memory and groups back, although DeepSpeed keeps its objects alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import distributed, nn


def release(module: nn.Module, *holders: object) -> None:
    """Free the storage of the module's parameters and of all tensors that ``holders`` hold.

    References stay, in closures and registries that nobody can clear; what they refer to is empty
    afterwards. A storage that others own, such as a mapped file's, is left to them.

    Args:
        module: is not used any more.
        holders: objects whose attributes are looked through, lists and mappings too.
    """
    for parameter in module.parameters():
        for tensor in (parameter, parameter.grad, getattr(parameter, "ds_tensor", None)):
            if tensor is not None:
                _empty(tensor)
        parameter.grad = None
    for holder in holders:
        for tensor in _tensors(vars(holder), set()):
            _empty(tensor)


def release_groups(wrapped: Any) -> None:
    """Let go of the groups of ranks that DeepSpeed holds: its own copy of the world, which the
    next engine makes anew, and the world itself, which is a default of two of its functions.

    A group that DeepSpeed held would outlive torch's, with its threads, and be used by an engine
    of a later world.

    Args:
        wrapped: DeepSpeed's engine, which is not used any more.
    """
    from deepspeed import comm
    from deepspeed.comm.torch import TorchBackend

    comm.destroy_process_group(wrapped.data_parallel_group)
    for holder in (wrapped, wrapped.optimizer, getattr(wrapped.optimizer, "parameter_offload", 0)):
        for name, value in list(getattr(holder, "__dict__", {}).items()):
            if _has_groups(value):
                setattr(holder, name, None)
    for parameter in wrapped.module.parameters():  # ZeRO 3 gives them methods that know its groups
        vars(parameter).clear()
    for function in (TorchBackend.barrier, TorchBackend.monitored_barrier):
        function.__defaults__ = tuple(
            None if _has_groups(value) else value for value in function.__defaults__
        )


def _has_groups(value: object) -> bool:
    inside = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, distributed.ProcessGroup) for one in inside)


def _empty(tensor: torch.Tensor) -> None:
    storage = tensor.untyped_storage()
    if storage.resizable():
        storage.resize_(0)


def _tensors(value: object, seen: set[int]) -> Iterator[torch.Tensor]:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _each([*value.keys(), *value.values()], seen)
    elif isinstance(value, list | tuple | set):
        yield from _each(value, seen)


def _each(values: Iterable[object], seen: set[int]) -> Iterator[torch.Tensor]:
    for value in values:
        yield from _tensors(value, seen)
