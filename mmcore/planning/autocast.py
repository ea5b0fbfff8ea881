"""Autocast for the meta device, where torch has none: what runs in bfloat16, what in float32.

The functions and rules are those of CUDA's autocast (torch, "CUDA Op-Specific Behavior"), decided
at the Python call instead of in the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

IN_BFLOAT16 = frozenset(
    [
        "__matmul__",
        "__rmatmul__",
        "addbmm",
        "addmm",
        "addmv",
        "addr",
        "baddbmm",
        "bmm",
        "chain_matmul",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "einsum",
        "gru_cell",
        "linear",
        "lstm_cell",
        "matmul",
        "mm",
        "multi_dot",
        "multi_head_attention_forward",
        "mv",
        "prelu",
        "rnn_relu_cell",
        "rnn_tanh_cell",
        "scaled_dot_product_attention",
        "vecdot",
    ]
)
IN_FLOAT32 = frozenset(
    [
        "__pow__",
        "__rpow__",
        "acos",
        "asin",
        "cdist",
        "cosh",
        "cosine_embedding_loss",
        "cosine_similarity",
        "cross_entropy",
        "cumprod",
        "cumsum",
        "dist",
        "erfinv",
        "exp",
        "expm1",
        "gaussian_nll_loss",
        "group_norm",
        "hinge_embedding_loss",
        "huber_loss",
        "instance_norm",
        "kl_div",
        "l1_loss",
        "layer_norm",
        "log",
        "log10",
        "log1p",
        "log2",
        "log_softmax",
        "logsumexp",
        "margin_ranking_loss",
        "mse_loss",
        "nll_loss",
        "norm",
        "pdist",
        "poisson_nll_loss",
        "pow",
        "prod",
        "reciprocal",
        "renorm",
        "rsqrt",
        "sinh",
        "smooth_l1_loss",
        "soft_margin_loss",
        "softmax",
        "softmin",
        "softplus",
        "sum",
        "tan",
        "triplet_margin_loss",
    ]
)


class AutocastOnMeta(TorchFunctionMode):
    """While it is on, functions run in the number format that autocast would give them.

    Weights that learn are cast once in a forward pass, and the copies live until ``forget`` at
    least, as autocast's do until its end; later copies live as long as somebody uses them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, torch.Tensor] | None = {}
        self._known: WeakValueDictionary[int, torch.Tensor] = WeakValueDictionary()

    def forget(self) -> None:
        """The forward pass is over."""
        self._kept = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        change: Callable[[torch.Tensor], torch.Tensor]
        if name in IN_BFLOAT16:
            change = self._lowered
        elif name in IN_FLOAT32:
            change = _raised
        else:
            return func(*args, **(kwargs or {}))
        args, kwargs = tree_map_only(torch.Tensor, change, (args, kwargs or {}))
        return func(*args, **kwargs)

    def _lowered(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype != torch.float32:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad):
            return tensor.to(torch.bfloat16)
        known = self._known.get(id(tensor))
        if known is None:
            known = self._known[id(tensor)] = tensor.to(torch.bfloat16)
        if self._kept is not None:
            self._kept[id(tensor)] = known
        return known


def _raised(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
