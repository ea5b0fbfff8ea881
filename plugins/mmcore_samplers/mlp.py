"""The connector of LLaVA 1.5: each patch becomes a token by itself.

Letters: N views, P patches of a view, D encoder width, E LLM width; Q is P.
"""

from __future__ import annotations

import torch
from torch import nn


class MLP(nn.Module):
    """Linear, GELU, linear (Liu et al. 2023, "Improved Baselines with Visual Instruction Tuning").

    Patches that do not show the picture become tokens too: their number is fixed by the view.

    Args:
        dim_in: D.
        dim_out: E.
    """

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim_in, dim_out), nn.GELU(), nn.Linear(dim_out, dim_out)
        )

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NPE``."""
        tokens_NPE: torch.Tensor = self.layers(features_NPD)
        return tokens_NPE
