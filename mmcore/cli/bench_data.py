"""`mmcore bench data`: how fast a recipe's data is made ready on this machine."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.benchmarks.pictures import TilerTimes

HEAD = (
    "picture",
    "kB",
    "views",
    "pictures/s: least, median, most",
    "plain loop",
    "ratio",
    "decode ms",
    "cut ms",
    "grey levels apart: mean, most",
)

SIZES = ("640x480", "1024x768", "2048x1536", "4000x3000")


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
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."
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
    help="How often each picture is decoded and cut.",
)
@click.option("--json", "as_json", is_flag=True, help="Seconds for programs.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...],
    repeats: int,
    as_json: bool,
) -> None:
    """Measure how fast the data of RECIPE is made ready.

    So far its pictures: they are made up, and decoded and cut as the recipe's tilers do it, beside
    a plain loop over Pillow that makes the same views. Needs neither weights nor data.
    """
    from mmcore.benchmarks.machine import cores
    from mmcore.benchmarks.pictures import pictures_of
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)
    pictures = pictures_of(loaded, sizes, repeats)
    if as_json:
        found = {"cores": cores(), "threads": 1, "pictures": [one.to_dict() for one in pictures]}
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{cores()} cores here; every figure is of one core and one thread")
    click.echo(_picture_table(pictures))


def _picture_table(measured: Sequence[TilerTimes]) -> str:
    """Pictures a second, and what they differ by from those of the plain loop."""
    blocks = []
    for one in measured:
        title = f"pictures, tiler {one.tiler.name}, as in {', '.join(one.stages)}"
        rows = [HEAD]
        for times in one.times:
            rows.append(
                (
                    f"{times.width}x{times.height}",
                    f"{times.encoded_bytes / 1000:,.0f}",
                    str(times.views),
                    _rates(times.seconds),
                    _rates(times.plain_seconds),
                    f"{times.ratio:.2f}",
                    f"{statistics.median(times.decode_seconds) * 1000:.1f}",
                    f"{statistics.median(times.cut_seconds) * 1000:.1f}",
                    f"{times.mean_difference:.2g}, {times.largest_difference}",
                )
            )
        blocks.append(f"{heading(title)}\n{columns(rows, indent='  ')}")
    return "\n".join(blocks)


def _rates(seconds: Sequence[float]) -> str:
    """Pictures a second: least, median and most."""
    spread = max(seconds), statistics.median(seconds), min(seconds)
    return " ".join(f"{1 / one:7.1f}" for one in spread)
