"""`mmcore plan`: what a recipe costs in memory, work and time, before anything is rented."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--gpu", help="Their kind, such as h100-80g; without it, no hours and no fit.")
@click.option("--mfu", default=0.4, show_default=True, help="Share of the peak that is reached.")
@click.option("--json", "as_json", is_flag=True, help="Bytes, operations and seconds for programs.")
@click.option(
    "--deepspeed",
    "configured",
    is_flag=True,
    help="Print the DeepSpeed configuration of every stage instead, as JSON.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
def command(
    recipe: Path,
    gpus: int,
    gpu: str | None,
    mfu: float,
    as_json: bool,
    configured: bool,
    overrides: tuple[str, ...],
) -> None:
    """Say what a recipe costs: parameters, memory, FLOPs, steps and hours.

    Needs neither weights nor data.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    if configured:
        from mmcore.planning.configurations import configurations

        click.echo(json.dumps(configurations(loaded), indent=2))
        return
    from mmcore.planning.planner import plan

    found = plan(loaded, gpus, gpu, mfu)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=2))
        return
    from rich.console import Console

    from mmcore.planning.table import lines

    console = Console()
    for line in lines(found):
        console.print(line, highlight=False)
