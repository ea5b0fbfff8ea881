"""`mmcore bench features`: what is gained where a frozen encoder's features are read from disk."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.layout import spread_line

if TYPE_CHECKING:
    from mmcore.benchmarks.features import Gain


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
@click.option("--stage", "wanted", help="Measure this stage only.")
@click.option(
    "--steps", default=10, show_default=True, type=click.IntRange(min=1), help="Steps of a round."
)
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often the steps are run, with and without features in turn.",
)
@click.option("--json", "as_json", is_flag=True, help="One object a stage, for programs.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    wanted: str | None,
    steps: int,
    rounds: int,
    as_json: bool,
) -> None:
    """Measure the steps of RECIPE with cached features and without.

    The features are those that `mmcore data cache` has made. Both ways take the same steps from the
    same weights, on the same packs. Nothing is written.
    """
    from mmcore.caching.expected import check_folders
    from mmcore.recipe import feature_folders, load_recipe

    loaded = load_recipe(recipe, overrides, machine=True)
    stages = [one for one in loaded.stages if wanted in (None, one.name) and feature_folders(one)]
    if not stages:
        where = "the recipe" if wanted is None else f"stage {wanted!r}"
        raise click.UsageError(f"no source of {where} names a folder of `features`")
    check_folders(loaded, stages)

    from mmcore.benchmarks.features import measure_gain

    gains: list[Gain] = []
    for stage in stages:

        def progress(text: str, name: str = stage.name) -> None:
            click.echo(f"{name}: {text}", err=True)

        gains.append(measure_gain(loaded, stage, steps=steps, rounds=rounds, progress=progress))
        if not as_json:
            _tell(gains[-1])
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in gains], indent=2))


def _tell(gain: Gain) -> None:
    last = gain.cached[-1]
    steps = len(last.step_seconds)
    click.echo(
        f"stage {gain.stage}, {last.views / steps:.1f} views and {last.tokens / steps:,.0f} tokens "
        f"a step, {gain.threads} threads"
    )
    ways = {"encoded": gain.encoded, "cached": gain.cached}
    for name, rounds in ways.items():
        seconds = [one for times in rounds for one in times.step_seconds]
        click.echo(spread_line(f"  step, {name}", seconds, "s"))
    for name, rounds in ways.items():
        seconds = [one for times in rounds for one in times.step_cpu_seconds]
        click.echo(spread_line(f"  its processor time, {name}", seconds, "s"))
    for name, rounds in ways.items():
        seconds = [one for times in rounds for one in times.data_seconds]
        click.echo(spread_line(f"  its packs alone, {name}", seconds, "s"))
    click.echo(spread_line("  step, encoded / cached, by round", gain.step_ratios, "x"))
    click.echo(spread_line("  processor, encoded / cached, by round", gain.cpu_ratios, "x"))
    click.echo(spread_line("  packs, encoded / cached, by round", gain.data_ratios, "x"))
    faster, less = (statistics.median(one) for one in (gain.step_ratios, gain.cpu_ratios))
    click.echo(
        f"  with cached features a step is {faster:.2f} times as fast, and takes 1/{less:.2f} of "
        "the processor time"
    )
