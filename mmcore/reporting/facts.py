"""What the recipe of a run declares, as the numbers that a diagnosis goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from mmcore.interfaces import EncoderSpec, TilerSpec, TokenSamplerSpec
from mmcore.recipe import Recipe, RecipeError, Stage, labels, load_recipe
from mmcore.run_folder.folder import RECIPE


@attrs.frozen
class StageFacts:
    """What a stage declares.

    Attributes:
        objectives: the weight of every term of its loss, by name.
        shares: of the samples drawn, by source; they add up to 1.
        kinds: what a source asks, where it says so, by source.
        views: the most that a picture can become; None where that is not known.
        warmup: steps in which the learning rate grows.
        taught: what a loss is over, in words: the sources with all their keys, and the LLM, whose
            tokens are counted. Losses of other things cannot be compared.
    """

    objectives: Mapping[str, float]
    shares: Mapping[str, float]
    kinds: Mapping[str, tuple[str, ...]]
    warmup: int
    taught: str = ""
    views: int | None = None


@attrs.frozen
class Facts:
    """What a recipe declares.

    Attributes:
        stages: by name, in their order.
        compression: patches of a view per token that the LLM reads; None where that depends on
            more than the recipe says.
        spike: so many deviations above what is usual, a loss has leapt.
        unknown: why nothing could be read; empty otherwise.
    """

    stages: Mapping[str, StageFacts] = attrs.field(factory=dict)
    compression: float | None = None
    spike: float = 10.0
    unknown: str = ""


def read(folder: Path) -> Facts:
    """Of a run. A recipe that is not accepted here, for its plugin is missing or it was written by
    another version, has no facts: the report then says nothing that needs them."""
    try:
        recipe = load_recipe(folder / RECIPE, locked=False)
    except RecipeError as error:
        return Facts(unknown=str(error.faults[0]))
    return Facts(
        stages={stage.name: _stage(stage, recipe) for stage in recipe.stages},
        compression=_compression(recipe),
        spike=recipe.guards.spike or Facts().spike,
    )


def _stage(stage: Stage, recipe: Recipe) -> StageFacts:
    sources = labels(stage)
    whole = sum(source.share for _, source in sources) or 1.0
    return StageFacts(
        objectives={one.name: one.weight for one in stage.objectives},
        shares={label: source.share / whole for label, source in sources},
        kinds={label: _kinds(source) for label, source in sources},
        warmup=stage.optimizer.warmup_steps,
        taught=repr((stage.data, recipe.model.llm)),
        views=_views(stage),
    )


def _views(stage: Stage) -> int:
    assert isinstance(stage.tiler, TilerSpec)
    return stage.tiler.max_views


def _kinds(source: object) -> tuple[str, ...]:
    """A source may name the kinds of what it asks; most do not."""
    named = getattr(source, "kinds", ())
    return tuple(map(str, named)) if isinstance(named, Sequence) else ()


def _compression(recipe: Recipe) -> float | None:
    encoder, sampler = recipe.model.encoder, recipe.model.token_sampler
    assert isinstance(encoder, EncoderSpec)
    assert isinstance(sampler, TokenSamplerSpec)
    try:
        return sampler.compression(encoder.view.grid)
    except ValueError:  # it takes no such views alone
        return None
