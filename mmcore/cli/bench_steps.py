"""`mmcore bench steps`: where the time of a recipe's steps goes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import click

from mmcore.cli.layout import spread_line


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
@click.option("--steps", default=10, show_default=True, help="Steps of each stage to measure.")
def command(recipe: Path, overrides: tuple[str, ...], steps: int) -> None:
    """Measure where the time of the steps of RECIPE goes."""
    began = time.perf_counter()
    from mmcore.benchmarks.steps import measure_stage
    from mmcore.recipe import load_recipe
    from mmcore.running import make_up

    loaded = load_recipe(recipe, overrides, machine=True)
    make_up(loaded)
    click.echo(f"imports, recipe and made-up data: {time.perf_counter() - began:.1f} s")
    for stage in loaded.stages:
        found = measure_stage(loaded, stage, steps)
        click.echo(f"stage {stage.name}")
        click.echo(f"  start-up until the first step has ended   {found.first_step:.2f} s")
        click.echo(spread_line("  step", found.step_seconds, "s"))
        click.echo(spread_line("  its packs, alone in this process", found.data_seconds, "s"))
        ratio = statistics.median(found.data_seconds) / statistics.median(found.step_seconds)
        click.echo(f"  data takes {ratio:.2f} of a step; it is read while the step before runs")
        click.echo(
            f"  {found.tokens / sum(found.step_seconds):,.0f} tokens/s, "
            f"{found.views / sum(found.step_seconds):,.1f} views/s, "
            f"packs {found.fill:.0%} full"
        )
