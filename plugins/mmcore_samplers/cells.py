"""Square cells of neighbouring patches, which become a token each.

Letters: N views, P patches of a view, C channels, Y/X rows and columns of patches, R/U rows and
columns of cells, Q = R * U cells of a view, F side of a cell in patches, S = F * F patches of a
cell.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad


def into_cells(
    x_NPC: torch.Tensor, visible_NP: torch.Tensor, *, rows: int, cols: int, side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut the views' patches into cells, row by row: ``x_NQSC, visible_NQS``.

    Where ``side`` does not divide the grid, it is filled up with hidden patches on the right and at
    the bottom. Within a cell, too, patches are in reading order.

    Args:
        x_NPC: something of every patch, in reading order.
        visible_NP: bool.
        rows, cols: grid of the patches.
        side: F.
    """
    below, beside = -rows % side, -cols % side
    views, _, width = x_NPC.shape
    x_NYXC = pad(x_NPC.reshape(views, rows, cols, width), (0, 0, 0, beside, 0, below))
    visible_NYX = pad(visible_NP.reshape(views, rows, cols), (0, beside, 0, below), value=False)
    return _cut(x_NYXC, side), _cut(visible_NYX[..., None], side)[..., 0]


def _cut(x_NYXC: torch.Tensor, side: int) -> torch.Tensor:
    views, rows, cols, width = x_NYXC.shape
    x_NRFUFC = x_NYXC.reshape(views, rows // side, side, cols // side, side, width)
    return x_NRFUFC.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def average(x_NQSC: torch.Tensor, visible_NQS: torch.Tensor) -> torch.Tensor:
    """The mean of every cell's visible patches, ``x_NQC``; zero where it has none."""
    seen_NQS1 = visible_NQS[..., None]
    count_NQ1 = visible_NQS.sum(2, keepdim=True).clamp(min=1)
    return x_NQSC.masked_fill(~seen_NQS1, 0.0).sum(2) / count_NQ1.to(x_NQSC.dtype)


def largest(x_NQSC: torch.Tensor, visible_NQS: torch.Tensor) -> torch.Tensor:
    """The greatest value of every channel among a cell's visible patches, ``x_NQC``; zero where it
    has none."""
    most_NQC = x_NQSC.masked_fill(~visible_NQS[..., None], -torch.inf).amax(2)
    return most_NQC.masked_fill(~visible_NQS.any(2, keepdim=True), 0.0)
