"""Attention on the meta device: no values, but the kept tensors and the work of a fused kernel.

On meta, torch takes attention apart into matrix products and would keep every score for the
backward pass, which no kernel on a GPU does. One operator stands for them all: it keeps queries,
keys, values, output and the logarithm of each query's sum, and says how much is computed.

Letters: B batch entries, H query heads, G key heads (H is a multiple of G), I queries, J keys,
M width of a head, R width of a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import register_flop_formula


@torch.library.custom_op("mmcore::fused_attention", mutates_args=())
def _forward(
    q_BHIM: torch.Tensor, k_BGJM: torch.Tensor, v_BGJR: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    raise NotImplementedError("fused_attention has no values: it is for the meta device")


@_forward.register_fake
def _(
    q_BHIM: torch.Tensor, k_BGJM: torch.Tensor, v_BGJR: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    out_BIHR = q_BHIM.new_empty(*q_BHIM.transpose(1, 2).shape[:3], v_BGJR.shape[3])
    return out_BIHR.transpose(1, 2), q_BHIM.new_empty(q_BHIM.shape[:3], dtype=torch.float32)


@torch.library.custom_op("mmcore::fused_attention_backward", mutates_args=())
def _backward(
    grad_BHIR: torch.Tensor,
    q_BHIM: torch.Tensor,
    k_BGJM: torch.Tensor,
    v_BGJR: torch.Tensor,
    pairs: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    raise NotImplementedError("fused_attention has no values: it is for the meta device")


@_backward.register_fake
def _(
    grad_BHIR: torch.Tensor,
    q_BHIM: torch.Tensor,
    k_BGJM: torch.Tensor,
    v_BGJR: torch.Tensor,
    pairs: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.empty_like(q_BHIM), torch.empty_like(k_BGJM), torch.empty_like(v_BGJR)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, torch.Tensor]) -> None:
    q_BHIM, k_BGJM, v_BGJR, ctx.pairs = inputs
    ctx.save_for_backward(q_BHIM, k_BGJM, v_BGJR, *output)


def _gradients(
    ctx: Any, grad_BHIR: torch.Tensor, _: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
    q_BHIM, k_BGJM, v_BGJR, _out, _sums = ctx.saved_tensors
    return (*_backward(grad_BHIR, q_BHIM, k_BGJM, v_BGJR, ctx.pairs), None)


_forward.register_autograd(_gradients, setup_context=_keep)


@register_flop_formula(torch.ops.mmcore.fused_attention)
def _forward_flops(
    q: torch.Size, k: torch.Size, v: torch.Size, pairs: int, *_: object, **__: object
) -> int:
    """Scores, and their product with the values."""
    return 2 * q[1] * pairs * (q[3] + v[3])


@register_flop_formula(torch.ops.mmcore.fused_attention_backward)
def _backward_flops(
    grad: torch.Size,
    q: torch.Size,
    k: torch.Size,
    v: torch.Size,
    pairs: int,
    *_: object,
    **__: object,
) -> int:
    """Scores again, and the gradients of scores, queries, keys and values."""
    return 2 * q[1] * pairs * (3 * q[3] + 2 * v[3])


def attention_on_meta(
    q_BHIM: torch.Tensor, k_BGJM: torch.Tensor, v_BGJR: torch.Tensor, *, pairs: int
) -> torch.Tensor:
    """``out_BHIR`` without values.

    Args:
        q_BHIM, k_BGJM, v_BGJR: on the meta device; consecutive query heads share a key head.
        pairs: how many pairs of a query and a key that it sees there are, over all entries.
    """
    out_BHIR: torch.Tensor = _forward(q_BHIM, k_BGJM, v_BGJR, pairs)[0]
    return out_BHIR


def causal_pairs(length: int, window: int | None = None) -> int:
    """Pairs of a query and a key not after it, at most ``window - 1`` before it."""
    seen = length if window is None else min(window, length)
    return seen * (seen + 1) // 2 + (length - seen) * seen


class FusedAttention(TorchFunctionMode):
    """While it is on, torch's attention function on meta tensors is ``attention_on_meta``.

    For modules that call it themselves, as many an encoder does. Which keys a mask hides is not
    known without values: all of them are counted.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention and args and args[0].is_meta:
            return _as_fused(*args, **kwargs)
        return func(*args, **kwargs)


def _as_fused(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    # Any leading dimensions become one; a matrix of its own is one head.
    shape = query.shape
    q_BHIM, k_BGJM, v_BGJR = (_four(one) for one in (query, key, value))
    queries, keys = q_BHIM.shape[2], k_BGJM.shape[2]
    pairs = causal_pairs(queries) if is_causal else queries * keys
    out_BHIR = attention_on_meta(q_BHIM, k_BGJM, v_BGJR, pairs=q_BHIM.shape[0] * pairs)
    return out_BHIR.reshape(*shape[:-1], value.shape[-1])


def _four(x: torch.Tensor) -> torch.Tensor:
    while x.dim() < 4:
        x = x[None]
    return x if x.dim() == 4 else x.flatten(0, -4)
