"""Norms of what every module gives, and of the gradients that come back, over the packs of a step.

Hooks see the modules as they are called; nothing of the model is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import attrs
import torch
from torch import nn


@attrs.frozen(kw_only=True)
class ModuleNorm:
    """One module in one step.

    Attributes:
        name: path within the model.
        output_rms, output_max: root mean square and largest magnitude of its outputs' finite
            values; 0 where none is finite.
        not_finite: how many of its outputs' values are not finite.
        output_gradient: L2 norm of the loss's gradient with respect to its outputs; None where
            none came back.
        parameter_gradient: L2 norm of the gradient of all parameters in it, before clipping; None
            where none of them learns.
        first_pack: number of the first pack, from 1, in which an output was not finite; 0 for none.
    """

    name: str
    output_rms: float
    output_max: float
    not_finite: int
    output_gradient: float | None
    parameter_gradient: float | None
    first_pack: int


@attrs.define
class _Sums:
    """Running sums of one module."""

    squares: float = 0.0
    values: int = 0
    largest: float = 0.0
    not_finite: int = 0
    first_pack: int = 0
    gradient_squares: float = 0.0
    gradients: int = 0
    parameter_gradient: float | None = None


class ModuleNorms:
    """Listens within ``listening`` to the modules below ``model``, in the order of their calls.

    Args:
        whole: the module whose call is one pack's forward; what a backward pass computes again
            is not counted.
        model: whose modules are listened to.
    """

    def __init__(self, whole: nn.Module, model: nn.Module) -> None:
        self._whole, self._model = whole, model
        self._sums: dict[str, _Sums] = {}
        self._pack, self._forward = 0, False

    @contextmanager
    def listening(self) -> Iterator[None]:
        handles = [
            self._whole.register_forward_pre_hook(self._begin),
            self._whole.register_forward_hook(self._end),
        ]
        for name, module in self._model.named_modules():
            if name:
                handles.append(module.register_forward_hook(self._hook(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def take_gradients(self) -> None:
        """Read the parameters' gradients; after the last pack, before the update clears them."""
        for name, module in self._model.named_modules():
            gradients = [one.grad for one in module.parameters() if one.grad is not None]
            if gradients and name in self._sums:
                norm = torch.nn.utils.get_total_norm(gradients)
                self._sums[name].parameter_gradient = float(norm)

    def norms(self) -> list[ModuleNorm]:
        """Of every module that was called, in the order in which they first gave something."""
        return [
            ModuleNorm(
                name=name,
                output_rms=math.sqrt(one.squares / one.values) if one.values else 0.0,
                output_max=one.largest,
                not_finite=one.not_finite,
                output_gradient=math.sqrt(one.gradient_squares) if one.gradients else None,
                parameter_gradient=one.parameter_gradient,
                first_pack=one.first_pack,
            )
            for name, one in self._sums.items()
        ]

    def _begin(self, module: nn.Module, inputs: object) -> None:
        self._pack, self._forward = self._pack + 1, True

    def _end(self, module: nn.Module, inputs: object, output: object) -> None:
        self._forward = False

    def _hook(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def hear(module: nn.Module, inputs: object, output: object) -> None:
            if self._forward:
                sums = self._sums.setdefault(name, _Sums())
                for tensor in _tensors(output):
                    self._add(sums, tensor)

        return hear

    def _add(self, sums: _Sums, tensor: torch.Tensor) -> None:
        values = tensor.detach().double()
        finite = torch.isfinite(values)
        bad = int((~finite).sum())
        kept = values[finite]
        sums.squares += float(kept.square().sum())
        sums.values += kept.numel()
        sums.largest = max(sums.largest, float(kept.abs().max()) if kept.numel() else 0.0)
        if bad and not sums.first_pack:
            sums.first_pack = self._pack
        sums.not_finite += bad
        if tensor.requires_grad:
            hook = partial(_add_gradient, sums)
            tensor.register_hook(hook)  # type: ignore[no-untyped-call]  # torch has no type for it


def _add_gradient(sums: _Sums, gradient: torch.Tensor) -> None:
    sums.gradient_squares += float(gradient.detach().double().square().sum())
    sums.gradients += 1


def _tensors(output: object) -> Iterable[torch.Tensor]:
    if isinstance(output, torch.Tensor) and output.is_floating_point():
        yield output
    elif isinstance(output, tuple | list | Mapping):
        for one in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(one)
