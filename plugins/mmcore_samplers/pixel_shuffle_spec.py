"""Pixel shuffle before it exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import Attention, LoadReport, PatchGrid
from mmcore.kit.weights import RANDOM
from mmcore_registry import doc, one_of
from mmcore_samplers.folder_spec import Edges, FolderSpec, count_cells

if TYPE_CHECKING:
    from torch import nn


@attrs.frozen(kw_only=True)
class PixelShuffleSpec(FolderSpec):
    """Cells of patches, end to end, through a norm and two linear layers (InternVL 1.5)."""

    name: ClassVar[str] = "pixel-shuffle"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, with our names or InternVL's, or random"),
    )
    factor: int = attrs.field(
        default=2,
        validator=attrs.validators.ge(1),
        metadata=doc("side of the square cells of patches that become a token", unit="patches"),
    )
    edges: Edges = attrs.field(
        default="refuse",
        validator=one_of(["refuse", "pad"]),
        metadata=doc(
            "what happens to a grid of patches that factor does not divide; pad: the cells on its "
            "right and at its bottom are filled up with zeros"
        ),
    )

    @property
    def needs_grid(self) -> bool:
        return True

    def tokens_per_view(self, grid: PatchGrid) -> int:
        return count_cells(grid, self.factor, self.edges, "factor")

    def build(
        self, *, dim_in: int, dim_out: int, grid: PatchGrid, attention: Attention
    ) -> nn.Module:
        from mmcore_samplers.pixel_shuffle import PixelShuffle

        return PixelShuffle(dim_in, dim_out, rows=grid.rows, cols=grid.cols, factor=self.factor)

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_samplers.weights import load_pixel_shuffle

        return load_pixel_shuffle(module, self.weights)

    def tiny(self) -> Self:
        # The tiny encoder's grid need not be one that the cells divide.
        return attrs.evolve(self, weights=RANDOM, edges="pad")

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM)
