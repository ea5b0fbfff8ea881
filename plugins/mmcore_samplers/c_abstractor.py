"""Honeybee's C-Abstractor: convolutions let neighbours speak, a pool thins them out.

Letters: N views, P patches of a view, D encoder width, C inner width, Y/X rows and columns of a
grid, R/U rows and columns of the tokens' grid, Q = R * U tokens of a view, E LLM width.
"""

from __future__ import annotations

import torch
from timm.layers.norm import LayerNorm2d
from timm.models.regnet import Bottleneck
from torch import nn

POSITION_STD = 0.02


class CAbstractor(nn.Module):
    """Residual blocks, a pool to fewer places, as many blocks again, and two linear layers.

    A view is treated as if there were only the patches that show the picture: for a convolution the
    others are zero, as is everything beyond the view's edge, and means are taken without them. A
    place of the pool's grid that has none of them is hidden in the later blocks in the same way; it
    still becomes a token, since a view has a fixed number of them.

    Source: Cha et al. 2024, "Honeybee: Locality-enhanced Projector for Multimodal LLM"
    (arXiv:2312.06742), section 4.1: RegNet blocks with squeeze-and-excitation.

    Args:
        dim_in: D.
        dim_out: E.
        rows, cols: grid of the patches.
        token_rows, token_cols: R and U, no larger than the patches' grid.
        width: C.
        depth: blocks before the pool, and behind it.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        rows: int,
        cols: int,
        token_rows: int,
        token_cols: int,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.rows, self.cols = rows, cols
        self.token_rows, self.token_cols = token_rows, token_cols
        self.pos_embed = nn.Parameter(torch.randn(rows * cols, dim_in) * POSITION_STD)
        widths = [dim_in] + [width] * (depth - 1)
        self.before = nn.ModuleList(Block(one, width) for one in widths)
        self.after = nn.ModuleList(Block(width, width) for _ in range(depth))
        self.readout = nn.Sequential(
            nn.Linear(width, dim_out), nn.SiLU(), nn.Linear(dim_out, dim_out)
        )

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``; hidden patches change nothing."""
        views, _, width = features_NPD.shape
        x_NPD = (features_NPD + self.pos_embed).transpose(1, 2)
        x_NCYX = x_NPD.reshape(views, width, self.rows, self.cols)
        visible_N1YX = patch_mask_NP.reshape(views, 1, self.rows, self.cols)
        x_NCYX = x_NCYX.masked_fill(~visible_N1YX, 0.0)
        for block in self.before:
            x_NCYX = block(x_NCYX, visible_N1YX)
        x_NCRU, visible_N1RU = pool(x_NCYX, visible_N1YX, self.token_rows, self.token_cols)
        for block in self.after:
            x_NCRU = block(x_NCRU, visible_N1RU)
        x_NCRU = x_NCRU.masked_fill(~visible_N1RU, 0.0)
        tokens_NQE: torch.Tensor = self.readout(x_NCRU.flatten(2).transpose(1, 2))
        return tokens_NQE


class Block(Bottleneck):
    """timm's RegNet block, which looks at visible places only; with all of them it is timm's.

    A projection, a 3 x 3 convolution of every channel by itself, squeeze-and-excitation, another
    projection, and the residual; every convolution is normed over its channels.

    Args:
        width_in, width_out: channels.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, act_layer=nn.SiLU, norm_layer=LayerNorm2d)

    def forward(  # type: ignore[override]  # a module's, of which no other calls it
        self, x_NCYX: torch.Tensor, visible_N1YX: torch.Tensor
    ) -> torch.Tensor:
        """``x_NCYX``; what it has at hidden places means nothing, before and after."""
        y_NCYX = self.conv1(x_NCYX).masked_fill(~visible_N1YX, 0.0)
        y_NCYX = self._excite(self.conv2(y_NCYX), visible_N1YX)
        assert self.downsample is not None
        out_NCYX: torch.Tensor = self.act3(self.conv3(y_NCYX) + self.downsample(x_NCYX))
        return out_NCYX

    def _excite(self, x_NCYX: torch.Tensor, visible_N1YX: torch.Tensor) -> torch.Tensor:
        """Every channel times a number between 0 and 1 that the means of all channels give."""
        count_N111 = visible_N1YX.sum((2, 3), keepdim=True).clamp(min=1).to(x_NCYX.dtype)
        shown_NCYX = x_NCYX.masked_fill(~visible_N1YX, 0.0)
        mean_NC11 = shown_NCYX.sum((2, 3), keepdim=True) / count_N111
        excited: torch.Tensor = self.se.gate(self.se.fc2(self.se.act(self.se.fc1(mean_NC11))))
        return x_NCYX * excited


def pool(
    x_NCYX: torch.Tensor, visible_N1YX: torch.Tensor, rows: int, cols: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over the visible places of windows that cover the grid evenly: ``x_NCRU``, and which of
    the windows have any, ``visible_N1RU``. The windows are those of torch's adaptive pooling.

    As matrix products, since the backward pass of torch's own adds up in any order on a GPU.
    """
    _, _, height, width = x_NCYX.shape
    down_RY = windows(rows, height, x_NCYX)
    across_XU = windows(cols, width, x_NCYX).T
    shown_NCYX = x_NCYX.masked_fill(~visible_N1YX, 0.0)
    count_N1RU = down_RY @ visible_N1YX.to(x_NCYX.dtype) @ across_XU
    mean_NCRU = (down_RY @ shown_NCYX @ across_XU) / count_N1RU.clamp(min=1)
    return mean_NCRU, count_N1RU > 0


def windows(count: int, length: int, like: torch.Tensor) -> torch.Tensor:
    """Which of ``length`` places each of ``count`` windows covers, as ones and zeros of the number
    format and on the device of ``like``."""
    number = torch.arange(count, device=like.device)[:, None]
    place = torch.arange(length, device=like.device)[None]
    begin, end = number * length // count, -((number + 1) * length // -count)
    return ((place >= begin) & (place < end)).to(like.dtype)
