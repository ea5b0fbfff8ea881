"""Attention by torch alone: its fused kernel, or plain products where those are faster.

On a CPU the fused kernel is slow in bfloat16: training on packs of a few hundred tokens a sequence
spends half of its time there, and plain products take a half to a sixth of that. In float32, and on
every GPU, the fused kernel is at least as fast.

Letters: B entries, H query heads, G key heads (H is a multiple of G), R query heads of a key head,
I queries, X = R * I, J keys, M width of a head.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

MOST_SCORES = 1 << 26
"""Plain products keep every score for the backward pass: beyond so many, memory matters more."""


def torch_attention(
    q_BHIM: torch.Tensor,
    k_BGJM: torch.Tensor,
    v_BGJM: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """Attention of an entry's queries to its keys: ``out_BHIM``.

    Args:
        q_BHIM, k_BGJM, v_BGJM: of one dtype; consecutive query heads share a key head.
        mask: bool, (I, J) or spread over (B, 1, I, J): True where a query sees a key.
        causal: instead of a mask, for I = J: a query sees keys up to its own place.
        scale: factor of the scores; None means ``M ** -0.5``.
    """
    scores = q_BHIM.shape[:3].numel() * k_BGJM.shape[2]
    if q_BHIM.device.type == "cpu" and q_BHIM.dtype == torch.bfloat16 and scores <= MOST_SCORES:
        if causal:
            mask = torch.ones(q_BHIM.shape[2], k_BGJM.shape[2], dtype=torch.bool).tril()
        return plain_attention(q_BHIM, k_BGJM, v_BGJM, mask=mask, scale=scale)
    return scaled_dot_product_attention(
        q_BHIM,
        k_BGJM,
        v_BGJM,
        attn_mask=mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=q_BHIM.shape[1] != k_BGJM.shape[1],
    )


def plain_attention(
    q_BHIM: torch.Tensor,
    k_BGJM: torch.Tensor,
    v_BGJM: torch.Tensor,
    *,
    mask: torch.Tensor | None,
    scale: float | None,
) -> torch.Tensor:
    """``softmax(q k^T * scale) v`` as products of matrices, in the dtype of its inputs.

    A query that sees no key gets the mean of all values, where the fused kernel gives zero.
    """
    entries, _, queries, width = q_BHIM.shape
    heads, keys = k_BGJM.shape[1:3]
    scale = width**-0.5 if scale is None else scale
    # autocast would make the softmax's input and output float32: it computes in float32 anyway.
    with torch.autocast(q_BHIM.device.type, enabled=False):
        # Heads of one key head are further queries to it: keys need no copies.
        q_BGXM = (q_BHIM * scale).reshape(entries, heads, -1, width)
        scores_BGXJ = q_BGXM @ k_BGJM.transpose(-1, -2)
        if mask is not None:
            scores_BGRIJ = scores_BGXJ.view(entries, heads, -1, queries, keys)
            scores_BGXJ = (scores_BGRIJ + _bias(mask, scores_BGXJ.dtype)).flatten(2, 3)
        out_BGXM = scores_BGXJ.softmax(-1) @ v_BGJM
    return out_BGXM.reshape(q_BHIM.shape)


def _bias(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Zero where ``mask`` is True, the least number elsewhere; over B, G, R, I, J."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    bias.masked_fill_(~mask, torch.finfo(dtype).min)
    return bias if mask.dim() == 2 else bias[:, :, None]
