"""`mmcore data preview`: a page that shows samples as the model gets them."""

from __future__ import annotations

from pathlib import Path

import click

from mmcore.cli.looking import MADE_UP_ROWS, options, reading


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    default=Path("preview.html"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="The page: one HTML file with everything in it.",
)
@click.option(
    "--samples",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Samples of every source, up to half of them such as were shrunk, split or truncated.",
)
@click.option("--source", metavar="LABEL", help="Show this source only.")
@options
def command(
    recipe: Path,
    output: Path,
    samples: int,
    source: str | None,
    stage: str | None,
    made_up: bool,
    overrides: tuple[str, ...],
) -> None:
    """Show samples of RECIPE as the model gets them, on a page of their own.

    Pictures with their views and what the mask hides, prompts token by token with what is learned,
    some packs, and the rows that were rejected.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)

    from mmcore.inspection.output import check_file
    from mmcore.inspection.preview import preview, work
    from mmcore.inspection.rendering import render
    from mmcore.inspection.stages import looked_at
    from mmcore.run_folder.folder import write_whole

    check_file(output)
    rows = MADE_UP_ROWS if made_up else 0
    with looked_at(loaded, stage=stage, source=source, made_up=rows) as look:
        with reading(work(look, samples)) as on_step:
            stages = preview(look, samples, on_step)
        write_whole(output, render(loaded.name, stages, look.notes))
    shown = sum(len(one.samples) for part in stages for one in part.sources)
    click.echo(f"{shown} samples in {output} ({output.stat().st_size / 1e6:.1f} MB)")
