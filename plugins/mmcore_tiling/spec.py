"""The recipe tables of the tilers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, Literal

import attrs

from mmcore.interfaces import TilePlan, TilerSpec, Tiles, ViewFormat
from mmcore_registry import doc, one_of
from mmcore_tiling.grids import BLIP3_GRIDS, Grid, Size, choose_grid, grids_up_to, place_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

optional, ge = attrs.validators.optional, attrs.validators.ge


@attrs.frozen(kw_only=True)
class _PictureTilerSpec(TilerSpec):
    """What both tilers say about how a picture is decoded and resized."""

    resize: Literal["fast", "exact"] = attrs.field(
        default="fast",
        validator=one_of(["fast", "exact"]),
        metadata=doc(
            "exact: Pillow's bicubic, bit for bit; fast: torch's, the same but for rounding, in a "
            "third of the time"
        ),
    )
    reduced_decoding: bool = attrs.field(
        default=False,
        metadata=doc(
            "a JPEG of at least twice the size that it is cut from is decoded at a half, a quarter "
            "or an eighth of it: sooner, but other pixels"
        ),
    )

    def least_size(self, plan: TilePlan, view: ViewFormat) -> Size | None:
        if not self.reduced_decoding:
            return None
        if not plan.cols:
            return view.size, view.size
        canvas = plan.cols * view.size, plan.rows * view.size
        place = place_pixels(plan.width, plan.height, *canvas)
        return max(place.width, view.size), max(place.height, view.size)

    def _cut(
        self,
        image: Image,
        plan: TilePlan,
        view: ViewFormat,
        merge: Literal["tiles", "raster-bands", "picture"],
    ) -> Tiles:
        from mmcore_tiling.cutting import cut_picture

        least = self.least_size(plan, view)
        return cut_picture(image, plan, view, merge=merge, resize=self.resize, least_size=least)


@attrs.frozen(kw_only=True)
class SingleTilerSpec(_PictureTilerSpec):
    """The whole picture squashed to one view, whatever its shape."""

    name: ClassVar[str] = "single"

    @property
    def max_views(self) -> int:
        return 1

    def plan(
        self, width: int, height: int, view: ViewFormat, max_views: int | None = None
    ) -> TilePlan:
        _check_limit(max_views)
        return TilePlan(width=width, height=height, cols=0, rows=0, views=1)

    def cut(self, image: Image, plan: TilePlan, view: ViewFormat) -> Tiles:
        return self._cut(image, plan, view, "tiles")


@attrs.frozen(kw_only=True)
class AnyResTilerSpec(_PictureTilerSpec):
    """A thumbnail and a grid of tiles that suits the picture's shape (BLIP-3, section 3.1)."""

    name: ClassVar[str] = "anyres"

    max_tiles: int | None = attrs.field(
        default=None,
        validator=optional(ge(2)),
        metadata=doc(
            "allow every grid of at most this many tiles, thumbnail not counted, instead of a "
            "list of grids",
            unit="tiles",
        ),
    )
    max_side: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most columns and most rows of the grids of max_tiles", unit="tiles"),
    )
    grids: tuple[tuple[int, int], ...] = attrs.field(
        metadata=doc(
            "grids to choose from, each [columns, rows], earlier ones first in a tie; by default "
            "those of max_tiles or, without it, the five of BLIP-3's training code"
        ),
    )
    small_as_single: bool = attrs.field(
        default=False,
        metadata=doc("a picture that fits into one view is not cut; BLIP-3 cuts every picture"),
    )
    merge: Literal["tiles", "raster-bands", "picture"] = attrs.field(
        default="tiles",
        validator=one_of(["tiles", "raster-bands", "picture"]),
        metadata=doc(
            "what the token sampler is given at a time: a tile; a band of the whole canvas, as the "
            "released xGen-MM weights expect; or all views of a picture, which then takes no more "
            "tokens than one view (the fixed sampling of BLIP-3's ablation)"
        ),
    )

    @grids.default
    def _default_grids(self) -> tuple[Grid, ...]:
        if self.max_tiles is None:
            return BLIP3_GRIDS
        return grids_up_to(self.max_tiles, self.max_side)

    @grids.validator
    def _check_grids(self, _: object, grids: tuple[Grid, ...]) -> None:
        if not grids:
            raise ValueError(
                f"grids is empty (max_tiles is {self.max_tiles}, max_side {self.max_side}), "
                "wanted at least one grid of two tiles or more"
            )
        for grid in grids:
            if len(grid) != 2 or min(grid) < 1:
                raise ValueError(f"grids has {list(grid)}, wanted [columns, rows] of at least 1")
        if len(set(grids)) < len(grids):
            raise ValueError(f"grids is {list(map(list, grids))}, wanted every grid once")
        if self.max_tiles and grids != grids_up_to(self.max_tiles, self.max_side):
            raise ValueError(
                f"grids is {list(map(list, grids))}, which contradicts "
                f"max_tiles = {self.max_tiles}; wanted only one of the two keys"
            )

    @property
    def max_views(self) -> int:
        return 1 + max(cols * rows for cols, rows in self.grids)

    @property
    def max_groups(self) -> int:
        return 1 if self.merge == "picture" else self.max_views

    @property
    def regroups(self) -> bool:
        return self.merge != "tiles"

    def group_sizes(self, view: ViewFormat) -> Collection[int]:
        if self.merge != "picture":
            return (view.patches,)
        views = {1, *(1 + cols * rows for cols, rows in self.grids)}
        return sorted(count * view.patches for count in views)

    def plan(
        self, width: int, height: int, view: ViewFormat, max_views: int | None = None
    ) -> TilePlan:
        _check_limit(max_views)
        fitting = [
            (cols, rows)
            for cols, rows in self.grids
            if max_views is None or 1 + cols * rows <= max_views
        ]
        is_small = max(width, height) <= view.size
        if not fitting or (self.small_as_single and is_small):
            return TilePlan(width=width, height=height, cols=0, rows=0, views=1)
        cols, rows = choose_grid(width, height, view.size, fitting)
        views = 1 + cols * rows
        groups = 1 if self.merge == "picture" else views
        return TilePlan(
            width=width, height=height, cols=cols, rows=rows, views=views, groups=groups
        )

    def cut(self, image: Image, plan: TilePlan, view: ViewFormat) -> Tiles:
        return self._cut(image, plan, view, self.merge)


def _check_limit(max_views: int | None) -> None:
    assert max_views is None or max_views >= 1, f"a picture needs a view, got {max_views}"
