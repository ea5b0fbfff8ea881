"""Attention over packed sequences and over plain batches, by xformers or by torch's own kernel.

Letters: T packed tokens, H query heads, G key heads (H is a multiple of G), M width of a head,
B batch entries, I queries, J keys.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import torch

from mmcore.interfaces import Attention, PackedLayout
from mmcore.kit.attention_on_meta import attention_on_meta, causal_pairs
from mmcore.kit.packed_sdpa import attend_packed
from mmcore.kit.torch_attention import torch_attention

if TYPE_CHECKING:
    from xformers.ops.fmha.attn_bias import BlockDiagonalCausalMask

# A mask of xformers is a pair of small tensors on the device: made once per pack, not per layer.
_masks: WeakKeyDictionary[PackedLayout, dict[int | None, BlockDiagonalCausalMask]] = (
    WeakKeyDictionary()
)


def choose_attention(wanted: Literal["auto", "sdpa", "xformers"], device: str) -> Attention:
    """The kernel that ``wanted`` means on ``device`` (such as ``cuda:0``).

    On the meta device nothing runs: any kernel may be wanted, and "auto" is what a GPU would take.

    Raises:
        ValueError: xformers is wanted where it cannot run.
    """
    if torch.device(device).type == "meta":
        return "xformers" if wanted == "auto" else wanted
    on_cuda = torch.device(device).type == "cuda"
    installed = importlib.util.find_spec("xformers") is not None
    if wanted == "xformers" and not on_cuda:
        raise ValueError(
            f"attention is 'xformers', but the device is {device!r}: xformers has no kernels for "
            "it; write 'sdpa' or 'auto'"
        )
    if wanted == "xformers" and not installed:
        raise ValueError(
            "attention is 'xformers', but xformers is not installed; write 'sdpa' or 'auto'"
        )
    if wanted == "auto":
        return "xformers" if on_cuda and installed else "sdpa"
    return wanted


def attend(
    q_THM: torch.Tensor,
    k_TGM: torch.Tensor,
    v_TGM: torch.Tensor,
    layout: PackedLayout,
    *,
    window: int | None = None,
    scale: float | None = None,
    cap: float | None = None,
    kernel: Attention,
) -> torch.Tensor:
    """Causal attention of every packed sequence to itself: ``out_THM``.

    Args:
        q_THM, k_TGM, v_TGM: queries, keys and values; consecutive query heads share a key head.
        layout: where the sequences lie; only its host side is read.
        window: how many positions a query sees, itself included; None means all before it.
        scale: factor of the scores; None means ``M ** -0.5``.
        cap: where given, scores are bent into ``±cap`` by ``cap * tanh(score / cap)`` (Gemma 2).
            Neither kernel can do that: plain matrix products do, which hold all scores of
            sequences of like length at once.
        kernel: chosen by ``choose_attention``.

    Raises:
        ValueError: the layout's lengths do not add up to T.
    """
    if sum(layout.lengths) != q_THM.shape[0]:
        raise ValueError(
            f"the layout's sequences have {sum(layout.lengths)} tokens together, "
            f"the queries {q_THM.shape[0]}"
        )
    # Rotary positions may leave queries and keys in a wider dtype than the projection made.
    q_THM, k_TGM = q_THM.to(v_TGM.dtype), k_TGM.to(v_TGM.dtype)
    if window is not None and window >= layout.longest:
        window = None
    if kernel == "xformers" and cap is None:
        return _attend_xformers(q_THM, k_TGM, v_TGM, layout, window, scale)
    return attend_packed(q_THM, k_TGM, v_TGM, layout, window, scale, cap)


def scaled_attention(
    q_BHIM: torch.Tensor,
    k_BHJM: torch.Tensor,
    v_BHJM: torch.Tensor,
    *,
    visible_BJ: torch.Tensor | None = None,
    visible_BIJ: torch.Tensor | None = None,
    kernel: Attention,
) -> torch.Tensor:
    """Attention of all queries of an entry to its keys: ``out_BHIM``, scores times ``M ** -0.5``.

    Args:
        q_BHIM, k_BHJM, v_BHJM: queries, keys and values, with equally many heads.
        visible_BJ: bool, which keys may be seen (at least one of every entry); None means all.
        visible_BIJ: instead of that, which keys every query may see (at least one).
        kernel: chosen by ``choose_attention``. Where keys are hidden, torch's kernel serves both:
            xformers would want the mask spread over all heads and queries.
    """
    q_BHIM, k_BHJM = q_BHIM.to(v_BHJM.dtype), k_BHJM.to(v_BHJM.dtype)
    if q_BHIM.is_meta:
        pairs = q_BHIM.shape[0] * q_BHIM.shape[2] * k_BHJM.shape[2]
        return attention_on_meta(q_BHIM, k_BHJM, v_BHJM, pairs=pairs)
    mask = visible_BIJ[:, None] if visible_BIJ is not None else None
    mask = visible_BJ[:, None, None, :] if visible_BJ is not None else mask
    if kernel == "xformers" and mask is None:
        from xformers.ops import memory_efficient_attention

        q_BIHM, k_BJHM, v_BJHM = (x.transpose(1, 2) for x in (q_BHIM, k_BHJM, v_BHJM))
        out_BIHM: torch.Tensor = memory_efficient_attention(q_BIHM, k_BJHM, v_BJHM)
        return out_BIHM.transpose(1, 2)
    return torch_attention(q_BHIM, k_BHJM, v_BHJM, mask=mask)


def xformers_mask(
    layout: PackedLayout, window: int | None, device: torch.device
) -> BlockDiagonalCausalMask:
    """xformers' block-diagonal causal mask of a pack, with a sliding window where one is given."""
    from xformers.ops.fmha.attn_bias import BlockDiagonalMask

    known = _masks.setdefault(layout, {})
    if window not in known:
        blocks = BlockDiagonalMask.from_seqlens(list(layout.lengths), device=device)
        known[window] = (
            blocks.make_causal() if window is None else blocks.make_local_attention(window)
        )
    return known[window]


def _attend_xformers(
    q_THM: torch.Tensor,
    k_TGM: torch.Tensor,
    v_TGM: torch.Tensor,
    layout: PackedLayout,
    window: int | None,
    scale: float | None,
) -> torch.Tensor:
    # Its grouped-head form has no backward pass: key heads are repeated instead.
    repeats = q_THM.shape[1] // k_TGM.shape[1]
    k_THM = k_TGM.repeat_interleave(repeats, dim=1)
    v_THM = v_TGM.repeat_interleave(repeats, dim=1)
    if q_THM.is_meta:
        pairs = sum(causal_pairs(length, window) for length in layout.lengths)
        q_1HTM, k_1HTM, v_1HTM = (x.transpose(0, 1)[None] for x in (q_THM, k_THM, v_THM))
        return attention_on_meta(q_1HTM, k_1HTM, v_1HTM, pairs=pairs)[0].transpose(0, 1)
    from xformers.ops import memory_efficient_attention

    out_1THM: torch.Tensor = memory_efficient_attention(
        q_THM[None],
        k_THM[None],
        v_THM[None],
        attn_bias=xformers_mask(layout, window, q_THM.device),
        scale=scale,
    )
    return out_1THM[0]
