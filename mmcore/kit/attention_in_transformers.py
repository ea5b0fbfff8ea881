"""Our attention as an attention implementation of transformers' models.

Letters: B prompts, T tokens, H query heads, G key heads, J keys, M width of a head.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from transformers import AttentionInterface

from mmcore.interfaces import Attention, PackedLayout
from mmcore.kit.attention import attend
from mmcore.kit.capped_attention import capped_attention
from mmcore.kit.torch_attention import torch_attention


def transformers_attention(kernel: Attention) -> str:
    """Register a kernel with transformers and return the name to set as ``attn_implementation``.

    A model that runs with it takes ``layout=PackedLayout`` among the keywords of its forward and
    one entry that holds the pack (1, T, E); or, in generation, no layout and a prepared bool mask
    (B, 1, T, J), True where a query sees a key. There is no mask function under this name:
    transformers would look for packed sequences by asking the device, once per forward.
    """
    # Not "sdpa": transformers would look for that word and refuse models that cap their scores.
    name = {"sdpa": "mmcore-torch", "xformers": "mmcore-xformers"}[kernel]
    AttentionInterface.register(name, functools.partial(_attention, kernel=kernel))
    return name


def _attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    kernel: Attention,
    scaling: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    layout: PackedLayout | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """What transformers calls: ``query`` BHTM, ``key`` and ``value`` BGJM -> BTHM."""
    if layout is not None:
        assert query.shape[0] == 1, f"a pack is one entry, got {query.shape[0]}"
        q_THM, k_TGM, v_TGM = (x[0].transpose(0, 1) for x in (query, key, value))
        out_THM = attend(
            q_THM,
            k_TGM,
            v_TGM,
            layout,
            window=sliding_window,
            scale=scaling,
            cap=softcap,
            kernel=kernel,
        )
        return out_THM[None], None
    if attention_mask is None:
        raise ValueError(
            f"{type(module).__name__} was given neither a packed layout nor an attention mask"
        )
    if softcap is not None:
        out_BHTM = capped_attention(
            query.to(value.dtype),
            key.to(value.dtype),
            value,
            mask=attention_mask,
            scale=scaling,
            cap=softcap,
        )
        return out_BHTM.transpose(1, 2), None
    out_BHTM = torch_attention(
        query.to(value.dtype), key.to(value.dtype), value, mask=attention_mask, scale=scaling
    )
    return out_BHTM.transpose(1, 2), None
