"""The connector of LLaVA 1.5: each patch, or each cell of patches, becomes a token by itself.

Letters: N views, P patches of a view, D encoder width, Q tokens of a view, E LLM width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from mmcore_samplers.cells import average, into_cells, largest

POOLINGS = {"average": average, "max": largest}


class MLP(nn.Module):
    """Linear, GELU, linear (Liu et al. 2023, "Improved Baselines with Visual Instruction Tuning").

    With ``pool``, square cells of neighbouring patches are pooled first (BLIP-3's ablation of its
    connector, arXiv:2408.08872, takes the greatest values of 2 x 2). Of a cell only the patches
    that show the picture count; a cell of none is zero before the layers. Without pooling, such
    patches become tokens like all others: their number is fixed by the view.

    Args:
        dim_in: D.
        dim_out: E.
        rows, cols: grid of the patches; not looked at without pooling.
        pool: side of a cell in patches; 1 for no pooling.
        pooling: what is taken of a cell's patches.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        rows: int = 1,
        cols: int = 1,
        pool: int = 1,
        pooling: Literal["average", "max"] = "max",
    ) -> None:
        super().__init__()
        self.rows, self.cols = rows, cols
        self.pool, self.pooling = pool, pooling
        self.layers = nn.Sequential(
            nn.Linear(dim_in, dim_out), nn.GELU(), nn.Linear(dim_out, dim_out)
        )

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``."""
        x_NQD = features_NPD
        if self.pool > 1:
            cells_NQSD, visible_NQS = into_cells(
                features_NPD, patch_mask_NP, rows=self.rows, cols=self.cols, side=self.pool
            )
            x_NQD = POOLINGS[self.pooling](cells_NQSD, visible_NQS)
        tokens_NQE: torch.Tensor = self.layers(x_NQD)
        return tokens_NQE
