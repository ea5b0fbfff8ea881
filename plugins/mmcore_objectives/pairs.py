"""The pairs of a picture and its text that a pack holds, and what is seen of them for a comparison.

Letters: B pairs of a pack, W tokens of a text, Q tokens of a view, X width in which both are
compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch

from mmcore.interfaces import (
    CONTRAST,
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    Forward,
    PackedBatch,
)

PICTURE, TEXT, WORDS = "pairs/picture_BQX", "pairs/text_BX", "pairs/words_B"
"""Names of what is seen of a pack's pairs; ``words_B`` is alike where two texts are."""

FACTOR = 6364136223846793005
"""Of the fingerprints; odd, so that no token is multiplied away (Knuth's MMIX generator's)."""


@attrs.frozen(eq=False)
class Pairs:
    """What a pack's ``aux`` says of its pairs. A pack without any has one row, of weight zero."""

    view_B: torch.Tensor
    ids_BW: torch.Tensor
    mask_BW: torch.Tensor
    weight_B: torch.Tensor


def pairs_of(batch: PackedBatch) -> Pairs:
    """The pairs of a pack."""
    aux = batch.aux
    return Pairs(aux[PAIR_VIEW], aux[PAIR_IDS], aux[PAIR_MASK], aux[PAIR_WEIGHT])


def pairs_in(batch: PackedBatch) -> float:
    """How many there are, from host data."""
    return float(batch.aux[PAIR_WEIGHT].sum())


def contrast_of(forward: Forward, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """``picture_BQX`` and ``text_BX`` of a pack's pairs; see ``PairedSampler``."""
    pairs = pairs_of(batch)
    picture_BQX, text_BX = forward.provided(
        CONTRAST, batch, pairs.view_B, pairs.ids_BW, pairs.mask_BW
    )
    return picture_BQX, text_BX


def seen_of(forward: Forward, batch: PackedBatch) -> Mapping[str, torch.Tensor]:
    """What every comparison of pairs needs."""
    picture_BQX, text_BX = contrast_of(forward, batch)
    pairs = pairs_of(batch)
    words_B = fingerprints(pairs.ids_BW, pairs.mask_BW)
    return {PICTURE: picture_BQX.float(), TEXT: text_BX.float(), WORDS: words_B}


def fingerprints(ids_BW: torch.Tensor, mask_BW: torch.Tensor) -> torch.Tensor:
    """``words_B``, int64: alike for the same tokens, however far they were filled up; for two
    different texts alike by a chance of about one in 2 ** 64."""
    powers_W = torch.tensor(
        [_signed(pow(FACTOR, place + 1, 1 << 64)) for place in range(ids_BW.shape[1])],
        dtype=torch.int64,
        device=ids_BW.device,
    )
    mixed_BW = ids_BW + 1
    mixed_BW = mixed_BW ^ (mixed_BW << 31)
    return (mixed_BW * powers_W * mask_BW).sum(dim=1)


def _signed(number: int) -> int:
    """An int64 with the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number
