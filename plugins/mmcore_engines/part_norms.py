"""How large the gradient of every part of the model is: of whole gradients, or of ZeRO's shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mmcore.interfaces import ParameterGroup

OF_GROUP = "get_grad_norm_direct"
"""Of DeepSpeed's ZeRO optimizers: the norm of one group, or piece of one, over all ranks, asked for
once a step and group, in the order of the groups."""

OF_ALL = "get_grads_for_norm"
"""Of its optimizer for bfloat16 at stage 1, which asks for the reduced gradients of all groups."""


def norms_by_part(groups: Sequence[ParameterGroup]) -> dict[str, torch.Tensor]:
    """The norm of the gradients as they are, float32 scalars; 0 for a part without any."""
    gradients: defaultdict[str, list[torch.Tensor]] = defaultdict(list)
    for group in groups:
        found = [one.grad for one in group.parameters if one.grad is not None]
        gradients[group.part] += found
    return {part: torch.nn.utils.get_total_norm(found).float() for part, found in gradients.items()}


class ZeroGroupNorms:
    """Overhears the norms that a ZeRO optimizer computes anyway to clip by the global one.

    Args:
        optimizer: DeepSpeed's; its groups are ``groups``.
        zero: its stage; 0 has nothing to overhear.
    """

    def __init__(self, optimizer: Any, groups: Sequence[ParameterGroup], zero: int) -> None:
        # Stage 3 cuts a large group into pieces, and asks for the norm of each.
        pieces = getattr(optimizer, "sub_group_to_group_id", None) or range(len(groups))
        self._parts = [groups[pieces[index]].part for index in range(len(pieces))]
        self._optimizer, self._found = optimizer, list[Any]()
        if zero and hasattr(optimizer, OF_GROUP):
            setattr(optimizer, OF_GROUP, self._of_group(getattr(optimizer, OF_GROUP)))
        elif zero and hasattr(optimizer, OF_ALL):
            setattr(optimizer, OF_ALL, self._of_all(getattr(optimizer, OF_ALL)))

    def by_part(self, device: torch.device) -> Mapping[str, torch.Tensor]:
        """Of the latest step; empty where there was one norm for all, as with offloading."""
        found, self._found = self._found, []
        if len(found) != len(self._parts):
            return {}
        squares: dict[str, torch.Tensor] = {}
        for part, norm in zip(self._parts, found, strict=True):
            square = _valid(torch.as_tensor(norm, dtype=torch.float32, device=device)) ** 2
            squares[part] = squares[part] + square if part in squares else square
        return {part: square.sqrt() for part, square in squares.items()}

    def close(self) -> None:
        """Leave the optimizer as it was."""
        if self._optimizer is not None:
            for method in (OF_GROUP, OF_ALL):
                vars(self._optimizer).pop(method, None)
        self._optimizer = None

    def _of_group(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def norm(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            self._found.append(answer.clone() if isinstance(answer, torch.Tensor) else answer)
            return answer

        return norm

    def _of_all(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def gradients(for_clipping: bool = False) -> Any:
            if not for_clipping:
                groups = self._optimizer.fp32_groups_gradients
                self._found = [torch.nn.utils.get_total_norm(group) for group in groups]
            return method(for_clipping)

        return gradients


def _valid(norm: torch.Tensor) -> torch.Tensor:
    """DeepSpeed writes -1 for a norm that is not finite."""
    return torch.where(norm < 0, torch.nan, norm)
