"""The views of a picture as the encoder's features, which stand in for pixels.

Letters: N views, P patches of a view, D encoder width.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from mmcore.interfaces import Tiles


@attrs.frozen(eq=False, kw_only=True)
class CachedViews(Tiles):
    """Tiles whose pixels nobody needs: ``pixels_NCHW`` has no views.

    Attributes:
        features_NPD: what the encoder makes of the views.
    """

    features_NPD: torch.Tensor


def side_by_side(views: Sequence[Tiles], blank_1PD: torch.Tensor | None) -> torch.Tensor | None:
    """All features of a pack in reading order, or the blank ones of a pack without pictures; None
    where pixels travel.

    Args:
        views: of every picture; all of one kind.
        blank_1PD: None where pixels travel.
    """
    if blank_1PD is None:
        assert not any(isinstance(one, CachedViews) for one in views), "a pack is of one kind"
        return None
    features = [one.features_NPD for one in views if isinstance(one, CachedViews)]
    assert len(features) == len(views), "a pack is of one kind"
    return torch.cat(features) if features else blank_1PD
