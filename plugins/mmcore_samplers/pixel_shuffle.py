"""Space to depth: the patches of a cell, end to end, become one token.

Letters: N views, P patches of a view, D encoder width, F side of a cell in patches, S = F * F
patches of a cell, Q tokens of a view, E LLM width.
"""

from __future__ import annotations

import torch
from torch import nn

from mmcore_samplers.cells import into_cells


class PixelShuffle(nn.Module):
    """Nothing is averaged away: a token sees all numbers of its cell (InternVL 1.5).

    Patches that do not show the picture are zeros in their cell, whatever the encoder made of them.

    Source: Chen et al. 2024, "How Far Are We to GPT-4V?" (arXiv:2404.16821), section 3.1; the
    layers, their order and the order of the channels are those of InternVL's ``mlp1``.

    Args:
        dim_in: D.
        dim_out: E.
        rows, cols: grid of the patches.
        factor: F.
    """

    def __init__(self, dim_in: int, dim_out: int, *, rows: int, cols: int, factor: int) -> None:
        super().__init__()
        self.rows, self.cols, self.factor = rows, cols, factor
        width = dim_in * factor * factor
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, dim_out), nn.GELU(), nn.Linear(dim_out, dim_out)
        )

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``."""
        cells_NQSD, visible_NQS = into_cells(
            features_NPD, patch_mask_NP, rows=self.rows, cols=self.cols, side=self.factor
        )
        shown_NQSD = cells_NQSD.masked_fill(~visible_NQS[..., None], 0.0)
        tokens_NQE: torch.Tensor = self.layers(shown_NQSD.flatten(2))
        return tokens_NQE
