"""How many tokens a token sampler makes of the tiles of the encoders that are installed."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from mmcore.interfaces import EncoderSpec, PatchGrid, TokenSamplerSpec
from mmcore_registry import Component, VariantPreset, discover


def tokens_and_ratio(sampler: TokenSamplerSpec, grid: PatchGrid) -> str:
    """Such as ``128 tokens per view of 27 x 27 patches, 5.7 to 1``.

    Raises:
        ValueError: the sampler refuses such views.
    """
    ratio = f"{sampler.compression(grid):.3g} to 1"
    return f"{sampler.tokens_per_view(grid):,} tokens per view of {grid} patches, {ratio}"


def tiles_of_encoders(sampler: TokenSamplerSpec) -> Iterator[tuple[str, str]]:
    """Every encoder, with its variant if it has some, and what becomes of its tiles."""
    for component in discover().components("encoder"):
        for name, encoder in _forms(component):
            try:
                yield name, tokens_and_ratio(sampler, encoder.view.grid)
            except ValueError as error:
                yield name, f"refused: {error}"


def complete(spec: type[attrs.AttrsInstance]) -> bool:
    """Whether every key has a default."""
    return all(field.default is not attrs.NOTHING for field in attrs.fields(spec))


def _forms(component: Component) -> Iterator[tuple[str, EncoderSpec]]:
    """An encoder with its defaults, once for every variant."""
    if not complete(component.spec):
        return  # its tiles are what a recipe makes them
    factories = [getattr(field.default, "factory", None) for field in attrs.fields(component.spec)]
    presets = [one.presets for one in factories if isinstance(one, VariantPreset)]
    for keys in [{"variant": name} for name in presets[0]] if presets else [{}]:
        encoder = component.spec(**keys)
        assert isinstance(encoder, EncoderSpec), component
        yield " ".join([component.name, *keys.values()]), encoder
