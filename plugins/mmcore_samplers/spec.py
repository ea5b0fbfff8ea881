"""The samplers before they exist: their sizes, and how many tokens they make of a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

import attrs

from mmcore.interfaces import Attention, LoadReport, PatchGrid
from mmcore.kit.weights import RANDOM
from mmcore_registry import doc, one_of
from mmcore_samplers.folder_spec import Edges, FolderSpec, count_cells

if TYPE_CHECKING:
    from torch import nn

ge, gt = attrs.validators.ge, attrs.validators.gt


@attrs.frozen(kw_only=True)
class PerceiverSpec(FolderSpec):
    """Learned queries that attend to the patches: a fixed number of tokens per view (BLIP-3)."""

    name: ClassVar[str] = "perceiver"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder of an imported checkpoint or with xGen-MM's names, or random"),
    )
    queries: int = attrs.field(
        default=128, validator=ge(1), metadata=doc("Q: tokens of a view", unit="tokens")
    )
    depth: int = attrs.field(default=6, validator=ge(1), metadata=doc("number of layers"))
    heads: int = attrs.field(default=16, validator=ge(1), metadata=doc("attention heads"))
    head_dim: int = attrs.field(
        default=96, validator=ge(1), metadata=doc("width of an attention head")
    )
    ff_mult: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("inner width of the feed-forward layers, as a multiple of the encoder's"),
    )
    latent_std: float = attrs.field(
        default=1.0, validator=gt(0), metadata=doc("standard deviation of the initial queries")
    )
    instruction: bool = attrs.field(
        default=False,
        metadata=doc(
            "let the queries also see the user's own words in the turn that shows the picture"
        ),
    )
    instruction_tokens: int = attrs.field(
        default=128,
        validator=ge(1),
        metadata=doc("how many of these words they see, from the first on", unit="tokens"),
    )
    recompute: bool = attrs.field(
        default=False,
        metadata=doc("compute the layers again in the backward pass, to save memory"),
    )

    @property
    def max_instruction(self) -> int:
        return self.instruction_tokens if self.instruction else 0

    def tokens_per_view(self, grid: PatchGrid) -> int:
        return self.queries

    def build(
        self,
        *,
        dim_in: int,
        dim_out: int,
        attention: Attention,
        grid: PatchGrid | None = None,
    ) -> nn.Module:
        """The grid may be left out: to the queries, all patches are alike."""
        from mmcore_samplers.perceiver import Perceiver

        return Perceiver(
            dim_in,
            dim_out,
            queries=self.queries,
            depth=self.depth,
            heads=self.heads,
            head_dim=self.head_dim,
            ff_mult=self.ff_mult,
            latent_std=self.latent_std,
            instruction=self.instruction,
            recompute=self.recompute,
            attention=attention,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_samplers.weights import load_perceiver

        return load_perceiver(module, self.weights)

    def tiny(self) -> Self:
        return attrs.evolve(
            self, weights=RANDOM, queries=8, depth=2, heads=2, head_dim=16, ff_mult=2
        )

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM, depth=1)


@attrs.frozen(kw_only=True)
class MLPSpec(FolderSpec):
    """Two linear layers on every patch, or on every cell of patches (LLaVA 1.5)."""

    name: ClassVar[str] = "mlp"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, with our names or LLaVA's, or random"),
    )
    pool: int = attrs.field(
        default=1,
        validator=ge(1),
        metadata=doc(
            "side of the square cells of patches that are pooled to one before the layers; 1 for "
            "none",
            unit="patches",
        ),
    )
    pooling: Literal["average", "max"] = attrs.field(
        default="max",
        validator=one_of(["average", "max"]),
        metadata=doc(
            "what is taken of a cell: the mean, or the greatest values (BLIP-3's ablation), of the "
            "patches that show the picture"
        ),
    )
    edges: Edges = attrs.field(
        default="refuse",
        validator=one_of(["refuse", "pad"]),
        metadata=doc(
            "what happens to a grid of patches that pool does not divide; pad: the cells on its "
            "right and at its bottom have fewer patches"
        ),
    )

    @property
    def needs_grid(self) -> bool:
        return self.pool > 1

    def tokens_per_view(self, grid: PatchGrid) -> int:
        return grid.patches if self.pool == 1 else count_cells(grid, self.pool, self.edges, "pool")

    def build(
        self,
        *,
        dim_in: int,
        dim_out: int,
        attention: Attention,
        grid: PatchGrid | None = None,
    ) -> nn.Module:
        """Without pooling, the grid may be left out."""
        from mmcore_samplers.mlp import MLP

        if self.pool == 1:
            return MLP(dim_in, dim_out)
        assert grid is not None, "pooling needs the grid of a view"
        return MLP(
            dim_in,
            dim_out,
            rows=grid.rows,
            cols=grid.cols,
            pool=self.pool,
            pooling=self.pooling,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_samplers.weights import load_mlp

        return load_mlp(module, self.weights)

    def tiny(self) -> Self:
        # The tiny encoder's grid need not be one that the cells divide.
        return attrs.evolve(self, weights=RANDOM, edges="pad")

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM)
