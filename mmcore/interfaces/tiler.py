"""A tiler cuts a picture into the views that an encoder wants, and marks what shows it.

Letters: N views, P patches of a view, C/H/W channels, height, width. Of masks and orders N counts
the groups of patches that the token sampler is given, and P the patches of a group; as a rule a
group is a view.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

import attrs

from mmcore.interfaces.encoder import ViewFormat
from mmcore_registry import Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


@attrs.frozen
class TilePlan:
    """How one picture will be cut; made from its size alone, before it is decoded.

    Attributes:
        width, height: of the picture, in pixels.
        cols, rows: the grid of tiles; 0 x 0 when there is only the whole view.
        views: how many views come out, the whole view (thumbnail) included.
        groups: how many groups of patches the token sampler is given; each becomes as many
            tokens as a view does. By default a group is a view.
    """

    width: int
    height: int
    cols: int
    rows: int
    views: int
    groups: int = attrs.field(
        default=attrs.Factory(lambda plan: plan.views, takes_self=True),
        validator=attrs.validators.ge(1),
    )

    def decoded_sizes(self, least_size: tuple[int, int] | None = None) -> list[tuple[int, int]]:
        """Sizes, (width, height), that the decoded picture may have.

        Its own and, where it may be reduced to ``least_size``, what JPEG decoders make of it: a
        half, a quarter and an eighth, rounded up.
        """
        sizes = [(self.width, self.height)]
        if least_size is not None:
            parts = [(-(-self.width // part), -(-self.height // part)) for part in (2, 4, 8)]
            sizes += [one for one in parts if one[0] >= least_size[0] and one[1] >= least_size[1]]
        return sizes


@attrs.frozen(eq=False)
class Tiles:
    """The views of one picture.

    Attributes:
        pixels_NCHW: uint8.
        patch_mask_NP: bool, True where the patch shows the picture.
        patch_order_NP: int64; which patches the token sampler is given together. Row g holds the
            patches of its g-th group, counted through all views of the picture (view by view,
            each in reading order); ``patch_mask_NP`` is in the same order. None: every view is
            a group of its own.
    """

    pixels_NCHW: NDArray[np.uint8]
    patch_mask_NP: NDArray[np.bool_]
    patch_order_NP: NDArray[np.int64] | None = None


@attrs.frozen(kw_only=True)
class TilerSpec(Spec):
    """Describes how pictures are cut, and cuts them; it has no second life, for it holds no
    weights."""

    kind: ClassVar[str] = "tiler"

    @property
    @abstractmethod
    def max_views(self) -> int:
        """The most views that one picture can become."""

    @property
    def max_groups(self) -> int:
        """The most groups of patches of one picture that the token sampler is given."""
        return self.max_views

    @property
    def regroups(self) -> bool:
        """Whether a group may be anything but one view's patches in reading order: bands across
        tiles, or several views together. A token sampler that needs the grid cannot take it."""
        return False

    def group_sizes(self, view: ViewFormat) -> Collection[int]:
        """Numbers of patches that a group can have; the token sampler must make equally many
        tokens of each."""
        return (view.patches,)

    @abstractmethod
    def plan(
        self, width: int, height: int, view: ViewFormat, max_views: int | None = None
    ) -> TilePlan:
        """Choose the grid for a picture of this size, with at most ``max_views`` views (>= 1)."""

    def least_size(self, plan: TilePlan, view: ViewFormat) -> tuple[int, int] | None:
        """The size, (width, height), to which a picture may be reduced while it is decoded.

        Where this says one, ``cut`` takes a picture of any of ``plan.decoded_sizes(least_size)``.
        None: a picture is always decoded at its own size.
        """
        return None

    @abstractmethod
    def cut(self, image: Image, plan: TilePlan, view: ViewFormat) -> Tiles:
        """Cut a decoded RGB picture as planned; grid and mask are the plan's, whatever size the
        picture was decoded at."""
