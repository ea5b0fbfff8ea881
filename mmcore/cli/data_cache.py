"""`mmcore data cache`: encode the pictures of a recipe once, so that training need not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.layout import columns

if TYPE_CHECKING:
    from mmcore.recipe import Recipe, Stage
    from mmcore.running.feature_cache import Cached, Estimate, Listeners


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--stage", metavar="NAME", help="Encode for this stage only.")
@click.option(
    "--from",
    "weights",
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Take the encoder of this run, checkpoint or model folder, not the recipe's.",
)
@click.option(
    "--store",
    "stored",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "bf16"]),
    help="Number format on disk: exact, or half as large.",
)
@click.option(
    "--views",
    default=32,
    show_default=True,
    type=click.IntRange(min=1),
    help="Views that the encoder is given at once.",
)
@click.option(
    "--crowded", is_flag=True, help="Begin also where the disk seems to have too little room."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe first, as in 'stages.*.data.*.features=cache/siglip'.",
)
def command(
    recipe: Path,
    stage: str | None,
    weights: Path | None,
    stored: str,
    views: int,
    crowded: bool,
    overrides: tuple[str, ...],
) -> None:
    """Keep what the frozen encoder of RECIPE makes of the pictures, for training.

    Every source says with `features` into which folder. Run it again to go on after an
    interruption, or to add what is new: what is there is not made again.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides, machine=True)

    from mmcore.running.feature_cache import cache_features

    with _told() as listeners:
        made = list(
            cache_features(
                loaded,
                _stages(loaded, stage),
                stored="bf16" if stored == "bf16" else "fp32",
                views=views,
                weights=weights,
                crowded=crowded,
                listeners=listeners,
            )
        )
    click.echo(table(made))


def _stages(recipe: Recipe, name: str | None) -> Sequence[Stage]:
    """Those that name folders, or the one that was asked for."""
    from mmcore_registry import nearest

    if name is None:
        return recipe.stages
    names = [stage.name for stage in recipe.stages]
    if name not in names:
        close = nearest(name, names)
        hint = f"; did you mean {close!r}?" if close else ""
        raise ValueError(f"no stage is called {name!r}{hint} (there are: {', '.join(names)})")
    return [recipe.stages[names.index(name)]]


@contextmanager
def _told() -> Iterator[Listeners]:
    """A bar on a terminal; how large it will be is said everywhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from mmcore.running.feature_cache import Listeners

    console = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()
    with Progress(
        *shown,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("opening", total=None)

        def estimates(found: Sequence[Estimate]) -> None:
            for one in found:
                size = _size(one.bytes)
                click.echo(f"{one.label}: {one.rows:,} rows, about {size} in all", err=True)
            progress.reset(task, total=sum(one.rows for one in found))

        yield Listeners(
            activity=lambda text: progress.update(task, description=text),
            estimates=estimates,
            rows=lambda count: progress.update(task, advance=count),
        )


def table(made: Sequence[Cached]) -> str:
    """What was made, a line for every source."""
    head = ("stage", "source", "rows", "rejected", "pictures", "there", "encoded", "written", "")
    rows = [
        (
            one.stage,
            one.label,
            f"{one.tally.rows:,}",
            f"{one.tally.rejected:,}",
            f"{one.tally.pictures:,}",
            f"{one.tally.kept:,}",
            f"{one.tally.encoded:,}",
            _size(one.tally.views * one.view_bytes),
            f"{one.folder} now has {one.entries:,}",
        )
        for one in made
    ]
    return columns([head, *rows], numbers=range(2, 8))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
