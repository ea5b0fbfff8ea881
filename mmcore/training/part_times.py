"""How long the parts of the model take in the forward pass, by hooks that stay out of its way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from mmcore.training.step_clock import Moment, StepClock

WATCHED = {"encoder": "encode", "token_sampler": "sample"}
"""Parts that have a span of their own; what is left of the forward pass is the LLM's."""

PROVIDE = "provide"
"""The other way into a ``PairedSampler``."""

FORWARD = "forward"
"""The span of a whole forward pass."""


class PartTimes:
    """Tells a clock about the forward passes of a ``TrainingStep`` and of the parts in it.

    What activation checkpointing runs again within a backward pass is no forward pass here.
    """

    def __init__(self, clock: StepClock, step: nn.Module) -> None:
        """``step`` has the model as ``step.model``."""
        self._clock, self._inside = clock, False
        self._began: dict[str, Moment] = {}
        self._hooks = [
            step.register_forward_pre_hook(self._enter),
            step.register_forward_hook(self._leave),
        ]
        model = step.get_submodule("model")
        self._wrapped: list[nn.Module] = []
        for part, span in WATCHED.items():
            module = getattr(model, part, None)
            if isinstance(module, nn.Module):
                self._hooks.append(module.register_forward_pre_hook(self._begin(span)))
                self._hooks.append(module.register_forward_hook(self._end(span)))
                if hasattr(module, PROVIDE):
                    self._wrap(module, span)

    def close(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()
        for module in self._wrapped:
            delattr(module, PROVIDE)
        self._hooks, self._wrapped = [], []

    def _wrap(self, module: nn.Module, span: str) -> None:
        """A method is no forward pass of its module, so that no hook hears of it."""
        call, begin, end = getattr(module, PROVIDE), self._begin(span), self._end(span)

        @functools.wraps(call)
        def timed(*args: Any) -> Any:
            begin()
            answer = call(*args)
            end()
            return answer

        setattr(module, PROVIDE, timed)
        self._wrapped.append(module)

    def _enter(self, *_: Any) -> None:
        self._inside = True
        self._began[FORWARD] = self._clock.now()

    def _leave(self, *_: Any) -> None:
        self._inside = False
        self._clock.add(FORWARD, self._began.pop(FORWARD), self._clock.now())

    def _begin(self, span: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if self._inside:
                self._began[span] = self._clock.now()

        return hook

    def _end(self, span: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            if self._inside:
                self._clock.add(span, self._began.pop(span), self._clock.now())

        return hook
