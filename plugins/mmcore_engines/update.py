"""The update: clip by the global norm, and change nothing where the gradient is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn
from torch.optim import Optimizer


def set_learning_rates(optimizer: Optimizer, rates: Sequence[float], multiplier: float) -> None:
    """Give every group of the optimizer its highest rate times ``multiplier``."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * multiplier


def clip_and_step(
    optimizer: Optimizer,
    parameters: Iterable[nn.Parameter],
    clip_norm: float,
    norms: Iterable[torch.Tensor],
) -> torch.Tensor:
    """Clip the gradients to ``clip_norm``, update, and clear them.

    A gradient that is not finite leaves weights, moments and step counts as they are. Optimizers
    that take ``found_inf`` (torch's fused ones: the protocol of ``torch.amp.GradScaler``) decide
    so on the device; for any other the host waits for the norm.

    Args:
        norms: of the gradients, in groups that have each of them once.

    Returns:
        the norm before clipping, a float32 scalar on the device.
    """
    learning = [parameter for parameter in parameters if parameter.grad is not None]
    device = learning[0].device if learning else torch.device("cpu")
    # That of a part without gradients is on no device in particular.
    norm = torch.nn.utils.get_total_norm([one.to(device) for one in norms]).float()
    if clip_norm != float("inf"):
        torch.nn.utils.clip_grads_with_norm_(learning, clip_norm, norm)
    finite = torch.isfinite(norm)
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # GradScaler's way
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]  # the same
    elif bool(finite):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm
