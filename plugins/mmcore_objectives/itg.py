"""Image-grounded text generation (BLIP-2's third objective).

Letters: B pairs of a pack, W tokens of a text.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import CAPTION, PAIR_MASK, PAIR_WEIGHT, Forward, PackedBatch
from mmcore_objectives.pairs import pairs_of


class ImageGroundedGeneration:
    """The negative log likelihood of a picture's text, told by the token sampler itself (BLIP-2,
    arXiv:2301.12597, section 3.1).

    Args:
        label_smoothing: share of the target that is spread over the vocabulary.
    """

    def __init__(self, label_smoothing: float) -> None:
        self._smoothing = label_smoothing

    def count(self, batch: PackedBatch) -> float:
        """How many tokens are learned: of every text, all but the first."""
        mask_BW, weight_B = batch.aux[PAIR_MASK], batch.aux[PAIR_WEIGHT]
        return float((mask_BW[:, 1:].sum(dim=1) * weight_B).sum())

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        """Their summed negative log likelihood, smoothed."""
        pairs = pairs_of(batch)
        nll_BW, spread_BW = forward.provided(
            CAPTION, batch, pairs.view_B, pairs.ids_BW, pairs.mask_BW
        )
        loss_BW = torch.lerp(nll_BW.float(), spread_BW.float(), self._smoothing)
        weight_BW = pairs.mask_BW * pairs.weight_B[:, None]
        forward.tell("nll", (nll_BW.float() * weight_BW)[:, 1:].sum())
        return (loss_BW * weight_BW)[:, 1:].sum()
