"""How likely the answers of a pack's samples are, and which of them are a preference pair's.

Letters: T packed tokens, E LLM width, L labelled positions, S samples of the pack, B pairs.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import Forward, PackedBatch


def log_likelihoods(forward: Forward, batch: PackedBatch) -> torch.Tensor:
    """``total_S``: the summed log-probabilities of every sample's labelled tokens, float64; of a
    pair's sequence these are its answer's. A pack without samples has one row, of weight zero."""
    h_TE = forward.hidden(batch)
    nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L).double()
    if not batch.segments:
        return nll_L.sum()[None] * 0.0
    total_S = nll_L.new_zeros(len(batch.segments))
    return total_S.index_add(0, batch.label_segment_L, -nll_L)


def pairs_of(batch: PackedBatch, device: torch.device) -> torch.Tensor:
    """``number_B2``: which samples are the preferred and the dispreferred answer of every pair."""
    return torch.tensor(batch.pairs, dtype=torch.long, device=device).reshape(-1, 2)
