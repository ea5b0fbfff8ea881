"""`mmcore bench`: how fast the command is, and where the time of a recipe's steps goes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

LIGHT_VERBS = (["--help"], ["list"], ["plugins"])


@click.command()
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
@click.option("--repeats", default=5, show_default=True, help="How often each verb is started.")
@click.option("--steps", default=10, show_default=True, help="Steps of each stage to measure.")
def command(recipe: Path | None, overrides: tuple[str, ...], repeats: int, steps: int) -> None:
    """Measure the light verbs and, given a RECIPE, what it reaches on this machine.

    Every figure is printed as least, median and most over the repeats: machines are noisy.
    """
    verbs = [*LIGHT_VERBS]
    if recipe is not None:
        verbs += [["check", str(recipe)], ["show", str(recipe)]]
    bare = _seconds([sys.executable, "-c", "pass"], repeats)
    click.echo(_line("python -c pass", bare))
    for words in verbs:
        taken = _seconds([sys.executable, "-m", "mmcore", *words], repeats)
        ratio = statistics.median(taken) / statistics.median(bare)
        click.echo(f"{_line('mmcore ' + ' '.join(words), taken)}   {ratio:.1f} x python")
    if recipe is not None:
        _bench_stages(recipe, overrides, steps)


def _bench_stages(recipe: Path, overrides: tuple[str, ...], steps: int) -> None:
    began = time.perf_counter()
    from mmcore.benchmark import measure_stage
    from mmcore.recipe import load_recipe
    from mmcore.running import make_up

    loaded = load_recipe(recipe, overrides, machine=True)
    make_up(loaded)
    click.echo(f"imports, recipe and made-up data: {time.perf_counter() - began:.1f} s")
    for stage in loaded.stages:
        found = measure_stage(loaded, stage, steps)
        click.echo(f"stage {stage.name}")
        click.echo(f"  start-up until the first step has ended   {found.first_step:.2f} s")
        click.echo(_line("  step", found.step_seconds))
        click.echo(_line("  its packs, alone in this process", found.data_seconds))
        ratio = statistics.median(found.data_seconds) / statistics.median(found.step_seconds)
        click.echo(f"  data takes {ratio:.2f} of a step; it is read while the step before runs")
        click.echo(
            f"  {found.tokens / sum(found.step_seconds):,.0f} tokens/s, "
            f"{found.views / sum(found.step_seconds):,.1f} views/s, "
            f"packs {found.fill:.0%} full"
        )


def _seconds(words: list[str], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return taken


def _line(label: str, seconds: Sequence[float]) -> str:
    least, middle, most = min(seconds), statistics.median(seconds), max(seconds)
    return f"{label:42}{least:8.3f} {middle:8.3f} {most:8.3f} s"
