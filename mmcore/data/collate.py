"""Samples and their tiles become one PackedBatch; the label shift is made here and nowhere else.

Letters: T packed tokens, N views, P patches of a view, I tokens of an instruction, K image
tokens, L labelled positions, S sequences of the pack, D encoder width, C/H/W channels, height,
width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mmcore.data.cached_views import side_by_side
from mmcore.data.pair_texts import PairTexts, carried
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PackedBatch, Segment, TextFormat, Tiles, ViewFormat


def collate(
    samples: Sequence[TokenizedSample],
    tiles: Sequence[Sequence[Tiles]],
    *,
    view: ViewFormat,
    tokens_per_view: int,
    lane: int,
    pair_texts: PairTexts | None = None,
    blank_1PD: torch.Tensor | None = None,
) -> PackedBatch:
    """One pack of at least one sample.

    Args:
        samples: end to end in this order; the two sequences of a pair follow one another.
        tiles: for each sample, the views of each of its pictures; both sequences of a pair show
            them.
        view: shape of the blank view of a pack without pictures.
        tokens_per_view: how many positions a view, or another group of patches, fills.
        lane: the lane that the pack was made in.
        pair_texts: how the texts of pictures were read, where the pack is to carry them.
        blank_1PD: where features travel in place of pixels, those of a pack without pictures.
    """
    assert samples, "a pack holds at least one sample"
    sequences = [sequence for sample in samples for sequence in sample.sequences]
    lengths = [sequence.tokens for sequence in sequences]
    borders = np.concatenate([[0], np.cumsum(lengths)])
    input_ids_T = np.concatenate([sequence.input_ids_T for sequence in sequences])
    labels = [np.flatnonzero(sequence.learned_T[1:]) for sequence in sequences]
    views = [one for picture in tiles for one in picture]
    pixels_NCHW, patch_mask_NP = _views(views, view)
    features_NPD = side_by_side(views, blank_1PD)
    instruction_ids_NI, instruction_mask_NI = _instructions(samples)
    preferences = [preference for sample in samples for preference in _preferences(sample)]
    segments = tuple(
        Segment(
            key=one.key,
            source=one.key.source,
            start=int(start),
            stop=int(stop),
            views=0 if preference == "dispreferred" else one.views,
            labels=len(index),
            preference=preference,
            pictures=0 if preference == "dispreferred" else len(one.pictures),
            reference=one.reference,
        )
        for one, start, stop, index, preference in zip(
            sequences, borders, borders[1:], labels, preferences, strict=False
        )
    )
    return _batch(
        input_ids_T=input_ids_T,
        lengths=lengths,
        label_index_L=np.concatenate([i + b for i, b in zip(labels, borders, strict=False)]),
        label_segment_L=np.repeat(np.arange(len(segments)), [len(index) for index in labels]),
        pixels_NCHW=pixels_NCHW,
        patch_mask_NP=patch_mask_NP,
        patch_order_NP=_patch_order(views),
        image_token_index_K=_image_tokens(sequences, borders, tokens_per_view),
        image_token_source_K=_shown_twice(samples, tokens_per_view),
        instruction_ids_NI=instruction_ids_NI,
        instruction_mask_NI=instruction_mask_NI,
        segments=segments,
        lane=lane,
        aux=carried(samples, pair_texts),
        features_NPD=features_NPD,
    )


def blank_batch(
    view: ViewFormat,
    text: TextFormat,
    pair_texts: PairTexts | None = None,
    blank_1PD: torch.Tensor | None = None,
) -> PackedBatch:
    """What a rank runs that has no lane left, to stay in step: one token, one blank view (as
    pixels, or as features where these travel), one label row of weight zero, no samples; with
    ``pair_texts``, one empty text of weight zero."""
    pixels_NCHW, patch_mask_NP = _views([], view)
    nothing = np.zeros(0, dtype=np.int64)
    return _batch(
        input_ids_T=np.array([text.end_id], dtype=np.int64),
        lengths=[1],
        label_index_L=nothing,
        label_segment_L=nothing,
        pixels_NCHW=pixels_NCHW,
        patch_mask_NP=patch_mask_NP,
        patch_order_NP=None,
        image_token_index_K=nothing,
        image_token_source_K=None,
        instruction_ids_NI=None,
        instruction_mask_NI=None,
        segments=(),
        lane=-1,
        aux=carried((), pair_texts),
        features_NPD=blank_1PD,
    )


def _batch(
    *,
    input_ids_T: NDArray[np.int64],
    lengths: Sequence[int],
    label_index_L: NDArray[np.int64],
    label_segment_L: NDArray[np.int64],
    pixels_NCHW: NDArray[np.uint8],
    patch_mask_NP: NDArray[np.bool_],
    patch_order_NP: NDArray[np.int64] | None,
    image_token_index_K: NDArray[np.int64],
    image_token_source_K: NDArray[np.int64] | None,
    instruction_ids_NI: NDArray[np.int64] | None,
    instruction_mask_NI: NDArray[np.bool_] | None,
    segments: tuple[Segment, ...],
    lane: int,
    aux: Mapping[str, torch.Tensor],
    features_NPD: torch.Tensor | None,
) -> PackedBatch:
    position_ids_T = np.concatenate([np.arange(length, dtype=np.int64) for length in lengths])
    if len(label_index_L):
        targets_L = input_ids_T[label_index_L + 1]
        learned_S = [segment.preference != "dispreferred" for segment in segments]
        label_weight_L = np.array(learned_S, dtype=np.float32)[label_segment_L]
    else:
        # One row of weight zero, so that every rank enters the head once.
        label_index_L = label_segment_L = np.zeros(1, dtype=np.int64)
        targets_L = input_ids_T[:1]
        label_weight_L = np.zeros(1, dtype=np.float32)
    return PackedBatch(
        input_ids_T=torch.from_numpy(input_ids_T),
        position_ids_T=torch.from_numpy(position_ids_T),
        cu_seqlens=torch.from_numpy(np.cumsum([0, *lengths]).astype(np.int32)),
        lengths=tuple(lengths),
        label_index_L=torch.from_numpy(label_index_L),
        targets_L=torch.from_numpy(targets_L.copy()),
        label_weight_L=torch.from_numpy(label_weight_L),
        pixels_NCHW=torch.from_numpy(pixels_NCHW if features_NPD is None else pixels_NCHW[:0]),
        patch_mask_NP=torch.from_numpy(patch_mask_NP),
        patch_order_NP=_tensor(patch_order_NP),
        image_token_index_K=torch.from_numpy(image_token_index_K),
        image_token_source_K=_tensor(image_token_source_K),
        instruction_ids_NI=_tensor(instruction_ids_NI),
        instruction_mask_NI=_tensor(instruction_mask_NI),
        label_segment_L=torch.from_numpy(label_segment_L.astype(np.int32)),
        segments=segments,
        lane=lane,
        aux=aux,
        features_NPD=features_NPD,
    )


def _tensor(array: NDArray[Any] | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)


def _instructions(
    samples: Sequence[TokenizedSample],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | tuple[None, None]:
    """Every group's own instruction, filled up to the longest, and what of it is there."""
    rows = [
        picture.instruction
        for sample in samples
        for picture in sample.pictures
        for _ in range(picture.plan.groups)
    ]
    if not any(rows):
        return None, None
    ids = _side_by_side([np.array([row], dtype=np.int64) for row in rows])
    return ids, _side_by_side([np.ones((1, len(row)), dtype=np.bool_) for row in rows])


def _preferences(sample: TokenizedSample) -> Sequence[Literal["preferred", "dispreferred"] | None]:
    """Of each of its sequences."""
    return ("preferred", "dispreferred") if sample.dispreferred else (None,)


def _views(tiles: Sequence[Tiles], view: ViewFormat) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """All views in reading order and the masks of all groups, or one blank view that shows
    nothing."""
    if not tiles:
        pixels = np.zeros((1, 3, view.size, view.size), dtype=np.uint8)
        return pixels, np.zeros((1, view.patches), dtype=np.bool_)
    return (
        np.concatenate([one.pixels_NCHW for one in tiles]),
        _side_by_side([one.patch_mask_NP for one in tiles]),
    )


def _patch_order(tiles: Sequence[Tiles]) -> NDArray[np.int64] | None:
    """The pictures' own orders one after another; None where all views stay as they are."""
    if all(one.patch_order_NP is None for one in tiles):
        return None
    orders, before = [], 0
    for one in tiles:
        shape = one.patch_mask_NP.shape
        own = one.patch_order_NP
        kept = np.arange(one.patch_mask_NP.size).reshape(shape) if own is None else own
        orders.append(kept + before)
        before += one.patch_mask_NP.size
    return _side_by_side(orders)


def _side_by_side(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Rows below one another, the shorter ones with zeros behind: False in a mask, and in an
    order any patch, which the mask hides."""
    longest = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(row, ((0, 0), (0, longest - row.shape[1]))) for row in rows])


def _image_tokens(
    sequences: Sequence[TokenizedSample], borders: NDArray[np.int64], tokens_per_view: int
) -> NDArray[np.int64]:
    runs = [
        np.arange(picture.plan.groups * tokens_per_view, dtype=np.int64) + border + picture.start
        for sequence, border in zip(sequences, borders, strict=False)
        for picture in sequence.pictures
    ]
    return np.concatenate([np.zeros(0, dtype=np.int64), *runs])


def _shown_twice(
    samples: Sequence[TokenizedSample], tokens_per_view: int
) -> NDArray[np.int64] | None:
    """Which of the views' tokens stands at every place; None where each stands at one."""
    if not any(sample.dispreferred and sample.pictures for sample in samples):
        return None
    runs, before = [], 0
    for sample in samples:
        tokens = tokens_per_view * sum(picture.plan.groups for picture in sample.pictures)
        runs += [np.arange(before, before + tokens, dtype=np.int64)] * len(sample.sequences)
        before += tokens
    return np.concatenate(runs)
