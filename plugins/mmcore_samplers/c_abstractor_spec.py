"""The C-Abstractor before it exists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import Attention, LoadReport, PatchGrid
from mmcore.kit.weights import RANDOM
from mmcore_registry import doc
from mmcore_samplers.folder_spec import FolderSpec

if TYPE_CHECKING:
    from torch import nn

ge = attrs.validators.ge


@attrs.frozen(kw_only=True)
class CAbstractorSpec(FolderSpec):
    """Convolutions, a pool to fewer places, and convolutions again (Honeybee)."""

    name: ClassVar[str] = "c-abstractor"

    token_rows: int = attrs.field(
        default=12,
        validator=ge(1),
        metadata=doc("rows of the grid that a view is pooled to", unit="tokens"),
    )
    token_cols: int = attrs.field(
        default=attrs.Factory(lambda self: self.token_rows, takes_self=True),
        validator=ge(1),
        metadata=doc("columns of that grid; as many as rows if not given", unit="tokens"),
    )
    depth: int = attrs.field(
        default=3,
        validator=ge(1),
        metadata=doc("residual blocks before the pool, and as many behind it"),
    )
    width: int = attrs.field(
        default=1024, validator=ge(1), metadata=doc("channels of the residual blocks")
    )

    @property
    def needs_grid(self) -> bool:
        return True

    def tokens_per_view(self, grid: PatchGrid) -> int:
        if self.token_rows > grid.rows or self.token_cols > grid.cols:
            raise ValueError(
                f"token_rows x token_cols is {self.token_rows} x {self.token_cols}, wanted at most "
                f"the grid of {grid} patches"
            )
        return self.token_rows * self.token_cols

    def build(
        self, *, dim_in: int, dim_out: int, grid: PatchGrid, attention: Attention
    ) -> nn.Module:
        from mmcore_samplers.c_abstractor import CAbstractor

        return CAbstractor(
            dim_in,
            dim_out,
            rows=grid.rows,
            cols=grid.cols,
            token_rows=self.token_rows,
            token_cols=self.token_cols,
            width=self.width,
            depth=self.depth,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore.kit.weights import fill_by_name, open_tensors

        with open_tensors(self.weights) as tensors:
            return fill_by_name(module, tensors)

    def tiny(self) -> Self:
        return attrs.evolve(self, weights=RANDOM, token_rows=2, token_cols=2, depth=1, width=16)

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM, depth=1)
