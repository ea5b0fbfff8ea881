"""A full pack of a stage, without values: what its batch table allows at most.

Letters: T packed tokens, N views, P patches of a view, K image tokens, L labelled positions,
I tokens of an instruction, B pairs, W tokens of a text, C/H/W channels, height, width.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import torch

from mmcore.data.most_views import most_views
from mmcore.interfaces import (
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    PackedBatch,
    ViewFormat,
)
from mmcore.recipe import ModelTable, Stage

SAMPLES = 4
"""Samples of the pack; only attention's work depends on how many there are."""


@attrs.frozen
class PackSize:
    """What a full pack holds.

    Attributes:
        tokens: T.
        views: N; as many as the stage allows and find room beside a token of text a sample.
        samples: of equal length.
        tokens_per_view: Q.
        view: what a view is like.
        groups: of patches that the token sampler is given; as a rule the views.
        patches: of a group.
        instruction: tokens of a group's instruction that the token sampler reads.
        text: tokens of every group's text, where objectives compare the two.
    """

    tokens: int
    views: int
    samples: int
    tokens_per_view: int
    view: ViewFormat
    groups: int
    patches: int
    instruction: int = 0
    text: int = 0


def full_pack(model: ModelTable, stage: Stage) -> PackSize:
    """The largest pack that the stage can meet."""
    view = model.encoder.view
    tokens_per_view = model.token_sampler.tokens_per_view(view.grid)
    tokens = stage.batch.max_tokens
    samples = max(1, min(SAMPLES, tokens // (tokens_per_view + 2)))
    room = max(1, (tokens - 2 * samples) // tokens_per_view)  # for groups
    views, groups = most_views(stage.tiler, stage.batch.max_views, room)
    patches = max(stage.tiler.group_sizes(view))
    needs = any(objective.needs for objective in stage.objectives)
    return PackSize(
        tokens,
        views,
        samples,
        tokens_per_view,
        view,
        groups,
        patches,
        instruction=model.token_sampler.max_instruction,
        text=model.token_sampler.max_pair_text if needs else 0,
    )


def batch_on_meta(size: PackSize) -> PackedBatch:
    """The pack as a batch on the meta device; every position but a sample's last is learned."""
    T, N, view = size.tokens, size.views, size.view
    whole, rest = divmod(T, size.samples)
    lengths = tuple(whole + (number < rest) for number in range(size.samples))
    L = T - size.samples
    asked = size.groups, size.instruction
    with torch.device("meta"):
        return PackedBatch(
            input_ids_T=torch.empty(T, dtype=torch.int64),
            position_ids_T=torch.empty(T, dtype=torch.int64),
            cu_seqlens=torch.empty(size.samples + 1, dtype=torch.int32),
            lengths=lengths,
            label_index_L=torch.empty(L, dtype=torch.int64),
            targets_L=torch.empty(L, dtype=torch.int64),
            label_weight_L=torch.empty(L, dtype=torch.float32),
            pixels_NCHW=torch.empty(N, 3, view.size, view.size, dtype=torch.uint8),
            patch_mask_NP=torch.empty(size.groups, size.patches, dtype=torch.bool),
            image_token_index_K=torch.empty(size.groups * size.tokens_per_view, dtype=torch.int64),
            label_segment_L=torch.empty(L, dtype=torch.int32),
            patch_order_NP=torch.empty(size.groups, size.patches, dtype=torch.int64)
            if size.groups != N
            else None,
            instruction_ids_NI=torch.empty(asked, dtype=torch.int64) if size.instruction else None,
            instruction_mask_NI=torch.empty(asked, dtype=torch.bool) if size.instruction else None,
            aux=_pairs(size.groups, size.text) if size.text else {},
        )


def _pairs(pairs: int, words: int) -> dict[str, torch.Tensor]:
    return {
        PAIR_IDS: torch.empty(pairs, words, dtype=torch.int64),
        PAIR_MASK: torch.empty(pairs, words, dtype=torch.bool),
        PAIR_VIEW: torch.empty(pairs, dtype=torch.int64),
        PAIR_WEIGHT: torch.empty(pairs, dtype=torch.float32),
    }


def tensors_of(batch: PackedBatch) -> Iterator[torch.Tensor]:
    """The tensors of a pack."""
    for field in attrs.fields(PackedBatch):
        value = getattr(batch, field.name)
        if isinstance(value, torch.Tensor):
            yield value
    yield from batch.aux.values()
