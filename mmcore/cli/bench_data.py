"""`mmcore bench data`: how fast a recipe's data is made ready on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.looking import options, reading
from mmcore.cli.picture_figures import picture_table
from mmcore.cli.stage_figures import figure_lines

if TYPE_CHECKING:
    from mmcore.benchmarks.stage_data import StageFigures
    from mmcore.recipe import Recipe

SIZES = ("640x480", "1024x768", "2048x1536", "4000x3000")

MADE_UP_ROWS = 256
"""Of every source: some rows for each of the 64 lanes of the large recipes."""


class PictureSize(click.ParamType[tuple[int, int]]):
    """Width and height, as in 1024x768."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        sides = str(value).split("x")
        if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
            self.fail(f"{value!r} is no size, wanted WIDTHxHEIGHT, as in 1024x768", param, ctx)
        width, height = map(int, sides)
        return width, height


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--only",
    type=click.Choice(["pictures", "packs"]),
    help="Measure only single pictures, or only whole packs.",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=PictureSize(),
    default=SIZES,
    metavar="WIDTHxHEIGHT",
    help=f"Size of a picture; may be repeated. [default: {', '.join(SIZES)}]",
)
@click.option(
    "--repeats",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often each picture is decoded and cut, and each lane is gone on with.",
)
@click.option(
    "--packs",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Packs of a stage that are timed, from one lane and from all.",
)
@click.option(
    "--rows",
    default=5000,
    show_default=True,
    type=click.IntRange(min=10),
    help="Rows of the long pass over which memory is watched.",
)
@click.option("--json", "as_json", is_flag=True, help="All that was measured, for programs.")
@options
def command(
    recipe: Path,
    only: str | None,
    sizes: tuple[tuple[int, int], ...],
    repeats: int,
    packs: int,
    rows: int,
    as_json: bool,
    stage: str | None,
    made_up: bool,
    overrides: tuple[str, ...],
) -> None:
    """Measure how fast the data of RECIPE is made ready.

    Pictures are made up, and decoded and cut as the recipe's tilers do it, beside a plain loop over
    Pillow that makes the same views: this needs neither weights nor data. Packs are made from every
    stage's own sources, or with --made-up from rows in their formats.
    """
    import attrs

    from mmcore.benchmarks.machine import cores
    from mmcore.benchmarks.pictures import pictures_of
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    pictures = pictures_of(loaded, sizes, repeats) if only != "packs" else []
    if not as_json:
        click.echo(f"{cores()} cores here; every figure is of one core and one thread")
        if pictures:
            click.echo(picture_table(pictures))
    stages = []
    if only != "pictures":
        for found in _stages(loaded, stage, made_up, packs, repeats, rows):
            stages.append(attrs.asdict(found))
            if not as_json:
                click.echo("\n".join(figure_lines(found)))
    if as_json:
        measured = {"pictures": [one.to_dict() for one in pictures], "stages": stages}
        click.echo(json.dumps({"cores": cores(), "threads": 1, **measured}, indent=2))


def _stages(
    recipe: Recipe, stage: str | None, made_up: bool, packs: int, repeats: int, rows: int
) -> Iterator[StageFigures]:
    from mmcore.benchmarks.stage_data import measure_stage_data
    from mmcore.inspection.stages import looked_at
    from mmcore.running.making_up import make_up

    with looked_at(recipe, stage=stage, made_up=MADE_UP_ROWS if made_up else 0) as look:
        make_up([spec for data in look.stages for _, spec in data.sources])
        for data in look.stages:
            with reading(rows) as told:
                yield measure_stage_data(
                    data,
                    recipe.data,
                    packs=packs,
                    repeats=repeats,
                    rows=rows,
                    on_rows=partial(told, "drawing rows"),
                )
