"""A module without storage, and the values that its tensors are to have."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import attrs
import torch
from torch import nn

from mmcore.interfaces import LoadReport, WeightsError
from mmcore.kit.deferred import DeferredError, Place, Recording, Seeding

Module = TypeVar("Module", bound=nn.Module)
Make = Callable[[], torch.Tensor]


@attrs.frozen(eq=False)
class Unfilled:
    """A module that was built by ``build_unfilled``.

    Attributes:
        module: its parameters, buffers and other tensors are on the meta device, but for those that
            its maker put somewhere by hand, or all of it, where it could not be built so.
        recording: how their values come about.
        report: what it was filled with; None where it starts from initial values.
    """

    module: nn.Module
    recording: Recording
    report: LoadReport | None

    def values(self) -> dict[str, Make]:
        """For every parameter, by its name, what makes its value on the CPU."""
        return {name: self._make(one) for name, one in self.module.named_parameters()}

    def _make(self, parameter: nn.Parameter) -> Make:
        if parameter.is_meta:
            return partial(self.recording.read, self.recording.place(parameter))
        value = parameter.detach()  # now: an engine may take the parameter's storage away
        return lambda: value

    def place_others(self, device: torch.device) -> None:
        """Put everything that is no parameter without storage on a device, with its values; what
        shares a storage still does."""
        parameters = {id(one) for one in self.module.parameters()}
        sharing: dict[int, dict[int, Place]] = {}
        for tensor in _tensors(self.module):
            if tensor.is_meta and id(tensor) not in parameters:
                place = self.recording.place(tensor)
                sharing.setdefault(place.storage, {})[id(tensor)] = place
        placed: dict[int, torch.Tensor] = {}
        for key, places in sharing.items():
            storage = _moved(self.recording.storage(key), device)
            placed |= {tensor: place.on(storage) for tensor, place in places.items()}
        for one in self.module.modules():
            _replace(vars(one), placed)
        for _, tensor in _named(self.module):
            if not tensor.is_meta:  # it had numbers from the beginning
                tensor.data = tensor.data.to(device)


def build_unfilled(
    build: Callable[[], nn.Module],
    load: Callable[[nn.Module], LoadReport | None],
    *,
    name: str,
    seeding: Seeding,
) -> Unfilled:
    """Build a module and fill it without memory, where that can be.

    A module whose maker looks at its values on the way, or keeps tensors in objects of its own, as
    few do, is built whole on the CPU.

    Args:
        build: makes the module on the default device.
        load: fills it; None: it keeps its initial values.
        name: of the module, before those of its parameters.
        seeding: gives the seed of a random value from the name of a parameter.

    Raises:
        WeightsError: weights are missing or do not fit.
    """
    recording = Recording(seeding)
    try:
        with recording:
            module = build()
            report = load(module)
        _check_reach(module)
    except WeightsError:
        raise
    except Exception as error:  # whatever it is: a fault of the module's own shows again below
        torch.manual_seed(seeding(name))
        module = build()
        report = load(module)
        recording = Recording(seeding)
        warnings.warn(
            f"{name} is built whole in memory, since it could not be built without its values "
            f"({type(error).__name__}: {str(error).partition(chr(10))[0]})",
            stacklevel=2,
        )
    recording.name((f"{name}.{own}", tensor) for own, tensor in _named(module))
    return Unfilled(module, recording, report)


@torch.no_grad()
def become(parameter: nn.Parameter, value: torch.Tensor) -> None:
    """Give a parameter on the meta device this value, wherever it is referred to; it keeps its
    attributes."""
    new = nn.Parameter(value, requires_grad=parameter.requires_grad)
    new.__class__ = parameter.__class__
    new.__dict__.update(parameter.__dict__)
    torch.utils.swap_tensors(parameter, new)  # type: ignore[no-untyped-call]  # torch's


def _moved(storage: torch.UntypedStorage, device: torch.device) -> torch.UntypedStorage:
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return flat.to(device).untyped_storage()


def _named(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers, and what the modules keep as plain attributes, also in lists."""
    for one in module.modules():
        for value in vars(one).values():
            yield from _within(value)


def _within(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _within(inner)


def _replace(value: Any, others: Mapping[int, torch.Tensor]) -> Any:
    """The value with other tensors, by the identity of those in it, where ``_within`` finds them.
    A buffer cannot ``become`` another, since it may have views."""
    if isinstance(value, torch.Tensor):
        return others.get(id(value), value)
    if isinstance(value, dict):
        for key, inner in value.items():
            value[key] = _replace(inner, others)
    elif isinstance(value, list):
        value[:] = [_replace(inner, others) for inner in value]
    elif isinstance(value, tuple) and any(True for _ in _within(value)):
        inside = [_replace(inner, others) for inner in value]
        return type(value)(*inside) if hasattr(value, "_fields") else tuple(inside)
    return value


def _check_reach(module: nn.Module) -> None:
    """Whether ``_replace`` finds every tensor without numbers that a module keeps.

    Raises:
        DeferredError: one is kept in an object of another kind; names the attribute.
    """
    within = {id(one) for one in (*module.parameters(), *_tensors(module))}
    seen = {id(one) for one in module.modules()}
    for path, one in module.named_modules():
        for attribute, value in vars(one).items():
            if any(tensor.is_meta and id(tensor) not in within for tensor in _held(value, seen)):
                name = f"{path}.{attribute}".removeprefix(".")
                raise DeferredError(
                    f"{name} keeps a tensor in a {type(value).__name__}, where it would stay "
                    "without numbers; a module, dict, list or tuple can keep one"
                )


def _held(value: object, seen: set[int]) -> Iterator[torch.Tensor]:
    """Tensors that a value holds in whatever kind of object.

    Args:
        seen: identities of what is not to be looked into; what is, is added.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, torch.Tensor):
            yield one
        elif id(one) not in seen and not isinstance(one, type | ModuleType):
            seen.add(id(one))
            if isinstance(one, dict):
                waiting += one.values()
            elif isinstance(one, list | tuple | set | frozenset | deque):
                waiting += one
            waiting += getattr(one, "__dict__", {}).values()
            waiting += [getattr(one, name, None) for name in _slots(type(one))]


def _slots(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        slots = vars(one).get("__slots__", ())
        yield from [slots] if isinstance(slots, str) else slots
