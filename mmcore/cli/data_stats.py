"""`mmcore data stats`: how long a recipe's samples are, how many views they have, how they mix."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mmcore.cli.looking import MADE_UP_ROWS, options, reading

JSON = "stats.json"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help=f"Folder for a plot of every stage, STAGE.png, and {JSON}.",
)
@click.option(
    "--samples",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Samples of every stage, in whole packs.",
)
@options
def command(
    recipe: Path,
    output: Path | None,
    samples: int,
    stage: str | None,
    made_up: bool,
    overrides: tuple[str, ...],
) -> None:
    """Count tokens, views and pictures of RECIPE's samples, and how packs are filled.

    Samples are drawn and packed as in training; pictures are not decoded.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)

    from mmcore.cli.distributions import stats_lines
    from mmcore.inspection.output import check_folder
    from mmcore.inspection.plots import plot
    from mmcore.inspection.stages import looked_at
    from mmcore.inspection.stats import stats, work

    if output is not None:
        check_folder(output)
    rows = MADE_UP_ROWS if made_up else 0
    with looked_at(loaded, stage=stage, made_up=rows) as look:
        with reading(work(look, samples)) as on_step:
            found = stats(look, samples, on_step)
        for line in stats_lines(found, look.notes):
            click.echo(line)
        if output is None:
            return
        whole = {"notes": list(look.notes), "stages": [one.to_json() for one in found]}
    (output / JSON).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    for one in found:
        plot(one, output / f"{one.name}.png")
    click.echo(f"{len(found) + 1} files in {output}")
