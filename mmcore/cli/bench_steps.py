"""`mmcore bench steps`: the pace of a recipe's steps, and where their time goes."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.layout import spread_line

if TYPE_CHECKING:
    from mmcore.benchmarks.pace import Pace
    from mmcore.recipe import Recipe, Stage


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
)
@click.option(
    "--workload",
    type=click.Path(path_type=Path),
    help="JSON with the samples of some steps; without it, full packs are made up.",
)
@click.option("--stage", "wanted", help="Measure this stage only.")
@click.option(
    "--baseline",
    type=click.Choice(["padded"]),
    help="Run every step the usual way as well: padded, masked, logits of all positions.",
)
@click.option(
    "--steps", default=10, show_default=True, type=click.IntRange(min=1), help="Steps to time."
)
@click.option(
    "--packs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Made-up packs in a step, in place of the recipe's packs_per_step.",
)
@click.option(
    "--rounds",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often the steps are run; of each, the fastest counts.",
)
@click.option(
    "--data",
    "from_data",
    is_flag=True,
    help="Measure with the recipe's own data (made up where it is missing), and its reading.",
)
@click.option("--json", "as_json", is_flag=True, help="One object a stage, for programs.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workload: Path | None,
    wanted: str | None,
    baseline: str | None,
    steps: int,
    packs: int,
    rounds: int,
    from_data: bool,
    as_json: bool,
) -> None:
    """Measure where the time of the steps of RECIPE goes.

    Made-up packs are as full as the stage's batch table allows. A step of a workload is one pack.
    Nothing is written.
    """
    if from_data and (workload or baseline or as_json):
        raise click.UsageError("--data stands alone: no --workload, --baseline or --json with it")
    from mmcore.recipe import load_recipe

    if from_data:
        _with_data(recipe, overrides, wanted, steps)
        return
    loaded = load_recipe(recipe, overrides)
    from mmcore.benchmarks.pace import measure_pace
    from mmcore.benchmarks.packs import made_up_workload
    from mmcore.benchmarks.workload import check_ids, read_workload

    given = None if workload is None else read_workload(workload)
    if given is not None:
        check_ids(given, loaded.model.llm.text().vocabulary_size)
    paces: list[Pace] = []
    for stage in _stages(loaded, wanted):
        paces.append(
            measure_pace(
                loaded,
                stage,
                given or made_up_workload(loaded, stage, steps=steps, packs=packs),
                rounds=rounds,
                baseline=baseline == "padded",
                bounded=given is None,
                progress=lambda text, name=stage.name: click.echo(f"{name}: {text}", err=True),  # type: ignore[misc]  # mypy and default arguments
            )
        )
        if not as_json:
            _tell(paces[-1])
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in paces], indent=2))


def _tell(pace: Pace) -> None:
    from mmcore.cli.pace_figures import pace_lines

    for line in pace_lines(pace):
        click.echo(line)


def _stages(recipe: Recipe, wanted: str | None) -> Sequence[Stage]:
    """The stage of this name, or all of them."""
    if wanted is None:
        return recipe.stages
    found = [stage for stage in recipe.stages if stage.name == wanted]
    if not found:
        names = ", ".join(stage.name for stage in recipe.stages)
        raise click.UsageError(f"the recipe has no stage {wanted!r}; its stages are {names}")
    return found


def _with_data(recipe: Path, overrides: tuple[str, ...], wanted: str | None, steps: int) -> None:
    began = time.perf_counter()
    from mmcore.benchmarks.steps import measure_stage
    from mmcore.recipe import load_recipe
    from mmcore.running.making_up import make_up

    loaded = load_recipe(recipe, overrides, machine=True)
    make_up(loaded)
    click.echo(f"imports, recipe and made-up data: {time.perf_counter() - began:.1f} s")
    for stage in _stages(loaded, wanted):
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
