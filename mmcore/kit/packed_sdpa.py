"""Torch's own attention over packed sequences: sequences of like length go side by side.

One call per sequence would spend its time on starting calls where a pack holds many short samples;
one masked call over the whole pack would compute what it then hides. In between: sequences whose
lengths share a power of two form one batch, filled up on the right. A causal query never looks to
its right, so what stands there is never seen, and no mask is needed. On a CPU, where a call starts
in no time, a sequence that is not short goes alone: nothing is copied, nothing filled up.

Letters: T packed tokens, S sequences, H query heads, G key heads, M width of a head, B sequences of
a batch, L its longest length.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import attrs
import torch

from mmcore.interfaces import PackedLayout
from mmcore.kit.attention_on_meta import attention_on_meta, causal_pairs
from mmcore.kit.capped_attention import capped_attention
from mmcore.kit.torch_attention import torch_attention

SHORT = 64
"""Up to so many tokens, a sequence shares its call on a CPU too."""


@attrs.frozen(eq=False)
class _Batch:
    """Sequences of like length.

    Attributes:
        rows_BL: position in the pack of every place; places past a sequence's end repeat its last.
        kept: which places of the flattened batch are sequences', in order.
    """

    rows_BL: torch.Tensor
    kept: torch.Tensor


@attrs.frozen(eq=False)
class _Arrangement:
    """How a pack is gone through.

    Attributes:
        batches: sequences side by side, or the number of one that goes alone.
        order_T: where each position of the pack is among the kept places of all batches; None
            where they are in order.
    """

    batches: tuple[_Batch | int, ...]
    order_T: torch.Tensor | None


# Made once per pack, not once per layer.
_arrangements: WeakKeyDictionary[PackedLayout, _Arrangement] = WeakKeyDictionary()


def attend_packed(
    q_THM: torch.Tensor,
    k_TGM: torch.Tensor,
    v_TGM: torch.Tensor,
    layout: PackedLayout,
    window: int | None,
    scale: float | None,
    cap: float | None = None,
) -> torch.Tensor:
    """Causal attention of every sequence to itself: ``out_THM``; see ``attention.attend``."""
    if layout not in _arrangements:
        _arrangements[layout] = _arrange(layout.lengths, q_THM.device)
    arrangement = _arrangements[layout]
    # Values are often a part of one wide product, all of which a view would keep for the backward.
    v_TGM = v_TGM.contiguous()
    q_SLHM, k_SLGM, v_SLGM = (torch.split(x, list(layout.lengths)) for x in (q_THM, k_TGM, v_TGM))
    parts = []
    for batch in arrangement.batches:
        if isinstance(batch, int):
            q_LHM, k_LGM, v_LGM = q_SLHM[batch], k_SLGM[batch], v_SLGM[batch]
            parts.append(_attend(q_LHM[None], k_LGM[None], v_LGM[None], window, scale, cap)[0])
            continue
        out_BLHM = _attend(
            q_THM[batch.rows_BL], k_TGM[batch.rows_BL], v_TGM[batch.rows_BL], window, scale, cap
        )
        parts.append(out_BLHM.flatten(0, 1)[batch.kept])
    out_THM = torch.cat(parts)
    return out_THM if arrangement.order_T is None else out_THM[arrangement.order_T]


def _arrange(lengths: Iterable[int], device: torch.device) -> _Arrangement:
    """Sequences by the power of two that holds them, or alone; from host numbers only."""
    by_size: dict[int, list[tuple[int, int]]] = {}
    start = 0
    batches: list[_Batch | int] = []
    positions: list[torch.Tensor] = []
    for number, length in enumerate(lengths):
        if device.type == "cpu" and length > SHORT:
            batches.append(number)
            positions.append(torch.arange(start, start + length))
        else:
            by_size.setdefault((length - 1).bit_length(), []).append((start, length))
        start += length
    for spans in by_size.values():
        longest = max(length for _, length in spans)
        places_L = torch.arange(longest)
        starts_B1 = torch.tensor([[start] for start, _ in spans])
        lengths_B1 = torch.tensor([[length] for _, length in spans])
        rows_BL = starts_B1 + torch.minimum(places_L, lengths_B1 - 1)
        kept = (places_L < lengths_B1).flatten().nonzero().flatten()
        positions.append(rows_BL.flatten()[kept])
        batches.append(_Batch(rows_BL.to(device), kept.to(device)))
    if not by_size:
        return _Arrangement(tuple(batches), order_T=None)
    return _Arrangement(tuple(batches), torch.cat(positions).argsort().to(device))


def _attend(
    q_BLHM: torch.Tensor,
    k_BLGM: torch.Tensor,
    v_BLGM: torch.Tensor,
    window: int | None,
    scale: float | None,
    cap: float | None,
) -> torch.Tensor:
    length = q_BLHM.shape[1]
    if q_BLHM.is_meta:
        q_BHLM, k_BGLM, v_BGLM = (x.transpose(1, 2) for x in (q_BLHM, k_BLGM, v_BLGM))
        pairs = q_BHLM.shape[0] * causal_pairs(length, window)
        return attention_on_meta(q_BHLM, k_BGLM, v_BGLM, pairs=pairs).transpose(1, 2)
    band_LL = None
    if cap is not None or (window is not None and length > window):
        band_LL = torch.ones(length, length, dtype=torch.bool, device=q_BLHM.device).tril()
        band_LL = band_LL if window is None else band_LL.triu(1 - window)
    if cap is not None:
        q, k, v = (x.transpose(1, 2) for x in (q_BLHM, k_BLGM, v_BLGM))
        return capped_attention(q, k, v, mask=band_LL, scale=scale, cap=cap).transpose(1, 2)
    out_BHLM = torch_attention(
        q_BLHM.transpose(1, 2),
        k_BLGM.transpose(1, 2),
        v_BLGM.transpose(1, 2),
        mask=band_LL,
        causal=band_LL is None,
        scale=scale,
    )
    return out_BHLM.transpose(1, 2)
