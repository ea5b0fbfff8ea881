"""How alike pictures and texts are: the largest inner product of a picture's queries with a text.

Letters: M pairs of a step, Q queries of a picture, X width in which both are compared, C candidates
of a pair, S pairs of a block, R pairs that a block is compared with.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

BLOCK = 64
"""So many pictures at a time, also in the backward pass: Q x M x M numbers at once would be too
many."""


def of_all(picture_MQX: torch.Tensor, text_MX: torch.Tensor) -> torch.Tensor:
    """``like_MM`` of every picture (row) and every text."""
    blocks = torch.split(picture_MQX, BLOCK)
    return torch.cat([_likeness(picture_SQX, text_MX) for picture_SQX in blocks])


def of_windows(picture_MQX: torch.Tensor, text_MX: torch.Tensor, candidates: int) -> torch.Tensor:
    """``like_MC`` of picture m and text m + c, counted on from the beginning after the last: column
    0 is a pair's own text. Read along c and down m, it is also text m + c beside picture m."""

    def window(start: int, picture_SQX: torch.Tensor) -> torch.Tensor:
        rows, device = len(picture_SQX), text_MX.device
        places_R = torch.arange(start, start + rows + candidates - 1, device=device)
        like_SR = _likeness(picture_SQX, text_MX[places_R % len(text_MX)])
        return like_SR.gather(1, _diagonals(rows, candidates, device))

    blocks = enumerate(torch.split(picture_MQX, BLOCK))
    made: list[torch.Tensor] = [
        checkpoint(window, n * BLOCK, one, use_reentrant=False, preserve_rng_state=False)
        for n, one in blocks
    ]
    return torch.cat(made)


def from_texts(like_MC: torch.Tensor) -> torch.Tensor:
    """The same windows from the side of the texts: text m and picture m - c."""
    pairs, candidates = like_MC.shape
    places_M1 = torch.arange(pairs, device=like_MC.device)[:, None]
    offsets_C = torch.arange(candidates, device=like_MC.device)
    return like_MC[(places_M1 - offsets_C) % pairs, offsets_C]


def same_words(words_M: torch.Tensor, candidates: int) -> torch.Tensor:
    """``same_MC``: whether text m + c is another pair's and yet the very text of pair m."""
    pairs = len(words_M)
    places_MC = _diagonals(pairs, candidates, words_M.device) % pairs
    same_MC = words_M[places_MC] == words_M[:, None]
    same_MC[:, 0] = False
    return same_MC


def _likeness(picture_SQX: torch.Tensor, text_RX: torch.Tensor) -> torch.Tensor:
    return torch.einsum("sqx,rx->srq", picture_SQX, text_RX).amax(dim=2)


def _diagonals(rows: int, candidates: int, device: torch.device) -> torch.Tensor:
    """``places_SC``: s + c."""
    places_S = torch.arange(rows, device=device)
    return places_S[:, None] + torch.arange(candidates, device=device)
