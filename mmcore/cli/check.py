"""`mmcore check`: every fault of a recipe at once, or what it would do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.compression import tokens_and_ratio
from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.recipe import Recipe, Stage, TrainablePart


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe first, as in stages.sft.optimizer.lr=2e-5.",
)
def command(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Find what is wrong with a recipe before anything is loaded."""
    from mmcore.caching.expected import check_folders
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides, machine=True)
    check_folders(loaded, loaded.stages)
    click.echo(f"{heading(str(recipe))}: {click.style('ok', fg='green')}")
    click.echo(columns(_parts(loaded), indent="  "))
    click.echo(heading("stages"))
    click.echo(columns([_stage(loaded, stage) for stage in loaded.stages], indent="  "))


def _parts(recipe: Recipe) -> list[tuple[str, str, str]]:
    model = recipe.model
    view = model.encoder.view
    return [
        (
            "encoder",
            model.encoder.name,
            f"views of {view.size} px become {view.patches} patches, "
            f"width {model.encoder.feature_width}",
        ),
        (
            "token_sampler",
            model.token_sampler.name,
            tokens_and_ratio(model.token_sampler, view.grid),
        ),
        (
            "llm",
            model.llm.name,
            f"width {model.llm.embedding_width}, context of {model.llm.context} tokens",
        ),
        ("engine", recipe.engine.name, recipe.engine.precision),
    ]


def _stage(recipe: Recipe, stage: Stage) -> tuple[str, ...]:
    view = recipe.model.encoder.view
    tokens = recipe.model.token_sampler.tokens_per_view(view.grid)
    views, groups = stage.tiler.max_views, stage.tiler.max_groups
    sources = "1 source" if len(stage.data) == 1 else f"{len(stage.data)} sources"
    return (
        stage.name,
        _length(stage),
        f"trains {', '.join(map(_learns, stage.train))}",
        f"up to {views} views, {groups * tokens} tokens a picture",
        sources,
    )


def _learns(part: TrainablePart) -> str:
    return part.part if part.lora is None else f"{part.part} (adapters of rank {part.lora.rank})"


def _length(stage: Stage) -> str:
    if stage.tokens is not None:
        return f"{stage.tokens:,.0f} tokens"
    return f"{stage.steps:,} steps" if stage.steps is not None else f"{stage.epochs:g} epochs"
