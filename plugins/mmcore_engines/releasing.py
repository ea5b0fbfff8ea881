"""Give a finished engine's memory back, although DeepSpeed's hooks keep its objects alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn


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
