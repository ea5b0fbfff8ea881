"""Attention whose scores are bent into a range before the softmax, as Gemma 2 wants it.

Letters: B entries, H query heads, G key heads (H is a multiple of G), I queries, J keys, M width
of a head.
"""

from __future__ import annotations

import torch


def capped_attention(
    q_BHIM: torch.Tensor,
    k_BGJM: torch.Tensor,
    v_BGJM: torch.Tensor,
    *,
    mask: torch.Tensor | None,
    scale: float | None,
    cap: float,
) -> torch.Tensor:
    """``softmax(cap * tanh(scores / cap)) @ v``: ``out_BHIM``, softmax in float32.

    Args:
        q_BHIM, k_BGJM, v_BGJM: consecutive query heads share a key head.
        mask: bool, spread over B, H, I, J: True where a query sees a key; None means everywhere.
        scale: factor of the scores; None means ``M ** -0.5``.
        cap: largest score.
    """
    repeats = q_BHIM.shape[1] // k_BGJM.shape[1]
    k_BHJM = k_BGJM.repeat_interleave(repeats, dim=1)
    v_BHJM = v_BGJM.repeat_interleave(repeats, dim=1)
    scale = q_BHIM.shape[-1] ** -0.5 if scale is None else scale
    scores_BHIJ = cap * torch.tanh(q_BHIM @ k_BHJM.transpose(-1, -2) * scale / cap)
    if mask is not None:
        scores_BHIJ = scores_BHIJ.masked_fill(~mask, float("-inf"))
    return scores_BHIJ.softmax(dim=-1, dtype=torch.float32).to(v_BHJM.dtype) @ v_BHJM
