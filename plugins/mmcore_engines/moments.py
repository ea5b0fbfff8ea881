"""An optimizer's state by name: how it is created before a first step, read, and written back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch.optim import Optimizer

STEP = "step"


def create_state(optimizer: Optimizer, tensors_of_groups: Iterable[list[torch.Tensor]]) -> None:
    """Make the optimizer create its state, by one update with rate and gradients zero.

    Weights stay as they are: an update is the rate times something, and so is decoupled decay.
    What the update leaves in the moments is to be overwritten by ``write_state``.

    Args:
        tensors_of_groups: what the optimizer updates, group by group.
    """
    kept = [(group["params"], group["lr"]) for group in optimizer.param_groups]
    everything: list[torch.Tensor] = []
    for group, tensors in zip(optimizer.param_groups, tensors_of_groups, strict=True):
        group["params"], group["lr"] = tensors, 0.0
        everything.extend(tensors)
    gradients = [tensor.grad for tensor in everything]
    for tensor in everything:
        tensor.grad = torch.zeros_like(tensor)
    optimizer.step()
    for tensor, gradient in zip(everything, gradients, strict=True):
        tensor.grad = gradient
    for group, (tensors, rate) in zip(optimizer.param_groups, kept, strict=True):
        group["params"], group["lr"] = tensors, rate


def moment_names(optimizer: Optimizer, tensor: torch.Tensor) -> list[str]:
    """Names of the state tensors that are shaped like ``tensor``; empty before the first step."""
    state: Mapping[str, object] = optimizer.state.get(tensor, {})
    return sorted(
        name
        for name, value in state.items()
        if name != STEP and isinstance(value, torch.Tensor) and value.shape == tensor.shape
    )


def steps_of(optimizer: Optimizer, tensor: torch.Tensor) -> int:
    """How many updates ``tensor`` has had."""
    return int(optimizer.state.get(tensor, {}).get(STEP, 0))


def set_steps(optimizer: Optimizer, tensor: torch.Tensor, steps: int) -> None:
    """Say how many updates ``tensor`` has had; its state exists."""
    state = optimizer.state[tensor]
    count = state.get(STEP)
    if isinstance(count, torch.Tensor):
        count.fill_(steps)
    elif count is not None:
        state[STEP] = steps
