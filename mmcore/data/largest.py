"""The largest pack that a stage may meet: as many tokens and views as its batch allows.

Letters: T packed tokens, N views, P patches of a view, I tokens of an
instruction, K image tokens, L labelled positions, B pairs, W tokens of a text.
"""

from __future__ import annotations

import torch

from mmcore.data.most_views import most_views
from mmcore.data.pair_texts import PairTexts
from mmcore.data.prepare import Preparer
from mmcore.interfaces import (
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    PackedBatch,
    SampleKey,
    Segment,
)

NAME = "largest-pack"


def largest_pack(preparer: Preparer) -> PackedBatch:
    """One sequence that fills the pack, all of its text labelled; its pictures are noise.

    Where the tokens do not suffice for all views that ``max_views`` allows, there are as many as
    they suffice for: no real pack can have more.
    """
    tokens, tiler = preparer.max_tokens, preparer.tiler
    room = (tokens - 1) // preparer.tokens_per_view
    views, groups = most_views(tiler, preparer.max_views, room)
    regroups = tiler.max_groups < tiler.max_views
    image_token_index_K = torch.arange(1, 1 + groups * preparer.tokens_per_view)
    input_ids_T = torch.full((tokens,), preparer.text.end_id)
    input_ids_T[image_token_index_K] = preparer.text.image_id
    is_text_T = input_ids_T != preparer.text.image_id
    label_index_L = torch.nonzero(is_text_T[1:]).flatten()
    labels = len(label_index_L)
    view = preparer.view
    patches = max(tiler.group_sizes(view)) if regroups else view.patches
    order_NP = torch.arange(groups * patches).reshape(groups, patches) % (views * view.patches)
    asked = preparer.instruction_tokens
    draw = torch.Generator().manual_seed(0)
    shape = (views, 3, view.size, view.size)
    key = SampleKey(NAME, "", 0)
    return PackedBatch(
        input_ids_T=input_ids_T,
        position_ids_T=torch.arange(tokens),
        cu_seqlens=torch.tensor([0, tokens], dtype=torch.int32),
        lengths=(tokens,),
        label_index_L=label_index_L,
        targets_L=input_ids_T[label_index_L + 1],
        label_weight_L=torch.ones(labels),
        pixels_NCHW=torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw),
        patch_mask_NP=torch.ones(groups, patches, dtype=torch.bool),
        image_token_index_K=image_token_index_K,
        label_segment_L=torch.zeros(labels, dtype=torch.int32),
        patch_order_NP=order_NP if regroups else None,
        instruction_ids_NI=torch.full((groups, asked), preparer.text.end_id) if asked else None,
        instruction_mask_NI=torch.ones(groups, asked, dtype=torch.bool) if asked else None,
        segments=(Segment(key, NAME, 0, tokens, views, labels),),
        aux=_every_view_paired(preparer.pair_texts, groups),
    )


def _every_view_paired(texts: PairTexts | None, groups: int) -> dict[str, torch.Tensor]:
    """As long a text as there can be with every view, or with every other group of patches."""
    if texts is None:
        return {}
    return {
        PAIR_IDS: torch.tensor([texts.longest] * groups),
        PAIR_MASK: torch.ones(groups, texts.most, dtype=torch.bool),
        PAIR_VIEW: torch.arange(groups),
        PAIR_WEIGHT: torch.ones(groups),
    }
