"""SigLIP before it exists: its sizes and its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import attrs

from mmcore.interfaces import (
    Attention,
    EncoderSpec,
    LoadReport,
    Renaming,
    ViewFormat,
    Wanted,
    WeightsError,
)
from mmcore.kit.weights import HUB, RANDOM, WEIGHT_FILES, locate, wanted
from mmcore_registry import Problem, doc, from_variant, one_of

if TYPE_CHECKING:
    from torch import nn

gt = attrs.validators.gt


@attrs.frozen(kw_only=True)
class Sizes:
    """What a variant presets (the models' published configurations)."""

    width: int
    depth: int
    heads: int
    mlp_width: int
    patch_size: int
    image_size: int


VARIANTS = {
    "so400m-patch14-384": Sizes(
        width=1152, depth=27, heads=16, mlp_width=4304, patch_size=14, image_size=384
    ),
    "base-patch16-224": Sizes(
        width=768, depth=12, heads=12, mlp_width=3072, patch_size=16, image_size=224
    ),
}


@attrs.frozen(kw_only=True)
class SiglipSpec(EncoderSpec):
    """SigLIP's vision transformer: the last block's patches, after the final norm."""

    name: ClassVar[str] = "siglip"

    variant: str = attrs.field(
        default="so400m-patch14-384",
        validator=one_of(VARIANTS),
        metadata=doc("which model presets the sizes below"),
    )
    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, hf://owner/name (from the local cache), or random"),
    )
    positions: Literal["learned", "sincos"] = attrs.field(
        default="learned",
        validator=one_of(["learned", "sincos"]),
        metadata=doc("position table: SigLIP's learned one, or fixed sines and cosines"),
    )
    width: int = attrs.field(
        default=from_variant(VARIANTS, "width"),
        validator=gt(0),
        metadata=doc("D: width of the features"),
    )
    depth: int = attrs.field(
        default=from_variant(VARIANTS, "depth"), validator=gt(0), metadata=doc("number of blocks")
    )
    heads: int = attrs.field(
        default=from_variant(VARIANTS, "heads"), validator=gt(0), metadata=doc("attention heads")
    )
    mlp_width: int = attrs.field(
        default=from_variant(VARIANTS, "mlp_width"),
        validator=gt(0),
        metadata=doc("inner width of a block's MLP"),
    )
    patch_size: int = attrs.field(
        default=from_variant(VARIANTS, "patch_size"),
        validator=gt(0),
        metadata=doc("side of a patch", unit="pixels"),
    )
    image_size: int = attrs.field(
        default=from_variant(VARIANTS, "image_size"),
        validator=gt(0),
        metadata=doc("side of a view", unit="pixels"),
    )
    recompute: bool = attrs.field(
        default=False,
        metadata=doc("compute the blocks again in the backward pass, to save memory"),
    )

    @property
    def view(self) -> ViewFormat:
        side = self.image_size // self.patch_size
        return ViewFormat(
            size=self.image_size, patch_rows=side, patch_cols=side, patch_size=self.patch_size
        )

    @property
    def feature_width(self) -> int:
        return self.width

    def problems(self) -> Iterator[Problem]:
        if self.width % self.heads:
            yield Problem("heads", f"is {self.heads}, which does not divide width {self.width}")
        if self.image_size < self.patch_size:
            yield Problem(
                "image_size", f"is {self.image_size}, less than one patch of {self.patch_size}"
            )
        if self.positions == "sincos" and self.width % 4:
            yield Problem(
                "positions", f"is 'sincos', which wants a width divisible by 4, not {self.width}"
            )
        if self.positions == "sincos" and self.weights.startswith(HUB):
            yield Problem("positions", f"is 'sincos', but {self.weights} has a learned table")
        if self.weights != RANDOM:
            try:
                locate(self.weights)
            except WeightsError as error:
                yield Problem("weights", str(error), machine=True)

    def wants(self) -> Iterator[Wanted]:
        yield from wanted("weights", self.weights, *WEIGHT_FILES)

    def build(self, *, attention: Attention) -> nn.Module:
        from mmcore_siglip.encoder import Siglip

        return Siglip(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            mlp_width=self.mlp_width,
            patch_size=self.patch_size,
            image_size=self.image_size,
            positions=self.positions,
            recompute=self.recompute,
            attention=attention,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_siglip.weights import load_siglip

        return load_siglip(module, self.weights)

    def published(self, names: Sequence[str]) -> Sequence[Renaming]:
        from mmcore_siglip.weights import published

        return published(names)

    def tiny(self) -> Self:
        return attrs.evolve(
            self,
            weights=RANDOM,
            width=32,
            depth=2,
            heads=2,
            mlp_width=64,
            patch_size=14,
            image_size=56,
        )

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM, depth=1)
