"""`mmcore import`: a foreign checkpoint becomes a folder that mmcore uses."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("import")
@click.argument("format_name", metavar="FORMAT")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="Says the model and its tokenizer where the checkpoint does not.",
)
@click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Ask the model fixed questions before and after; takes the memory of the whole model.",
)
def command(format_name: str, path: Path, out: Path, recipe: Path | None, probe: bool) -> None:
    """Make the model folder OUT of the checkpoint at PATH, and a receipt of it all.

    \b
    mmcore import xgen-mm checkpoints/xgen-mm-base models/xgen-mm-base
    mmcore import xgen-mm checkpoint_0.pt models/mine --recipe recipes/blip3_4b.toml
    """
    from mmcore.cli.copying import copying
    from mmcore.exchange import import_checkpoint
    from mmcore.recipe import load_recipe

    loaded = None if recipe is None else load_recipe(recipe)
    with copying(f"importing {path}") as on_progress:
        receipt = import_checkpoint(
            format_name, path, out, recipe=loaded, probe=probe, on_progress=on_progress
        )
    for line in receipt.summary():
        click.echo(line)
    click.echo(f"{out} is ready: mmcore generate {out} QUESTION")
