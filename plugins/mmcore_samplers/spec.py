"""The samplers before they exist: their sizes, and how many tokens they make of a view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import Attention, LoadReport, TokenSamplerSpec, Wanted, WeightsError
from mmcore.kit.weights import RANDOM, WEIGHT_FILES, locate, wanted
from mmcore_registry import Problem, doc

if TYPE_CHECKING:
    from torch import nn

ge, gt = attrs.validators.ge, attrs.validators.gt


@attrs.frozen(kw_only=True)
class PerceiverSpec(TokenSamplerSpec):
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
    recompute: bool = attrs.field(
        default=False,
        metadata=doc("compute the layers again in the backward pass, to save memory"),
    )

    def problems(self) -> Iterator[Problem]:
        yield from _missing(self.weights)

    def wants(self) -> Iterator[Wanted]:
        yield from wanted("weights", self.weights, *WEIGHT_FILES)

    def tokens_per_view(self, patches: int) -> int:
        return self.queries

    def build(self, *, dim_in: int, dim_out: int, attention: Attention) -> nn.Module:
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
class MLPSpec(TokenSamplerSpec):
    """Two linear layers on every patch: as many tokens as patches (LLaVA 1.5)."""

    name: ClassVar[str] = "mlp"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, with our names or LLaVA's, or random"),
    )

    def problems(self) -> Iterator[Problem]:
        yield from _missing(self.weights)

    def wants(self) -> Iterator[Wanted]:
        yield from wanted("weights", self.weights, *WEIGHT_FILES)

    def tokens_per_view(self, patches: int) -> int:
        return patches

    def build(self, *, dim_in: int, dim_out: int, attention: Attention) -> nn.Module:
        from mmcore_samplers.mlp import MLP

        return MLP(dim_in, dim_out)

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_samplers.weights import load_mlp

        return load_mlp(module, self.weights)

    def tiny(self) -> Self:
        return attrs.evolve(self, weights=RANDOM)

    def thin(self) -> Self:
        return attrs.evolve(self, weights=RANDOM)


def _missing(weights: str) -> Iterator[Problem]:
    if weights != RANDOM:
        try:
            locate(weights)
        except WeightsError as error:
            yield Problem("weights", str(error), machine=True)
