"""`mmcore export`: a trained or imported model as others read it."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    default="mmcore",
    show_default=True,
    help="mmcore (a model folder), hf (for transformers), peft (adapters alone), or a component of "
    "kind format such as xgen-mm.",
)
@click.option(
    "--probe/--no-probe",
    default=True,
    show_default=True,
    help="Ask the model fixed questions before and after; takes the memory of the whole model.",
)
def command(run: Path, out: Path, format_name: str, probe: bool) -> None:
    """Write the model of RUN (a run folder or a model folder) to the new folder OUT.

    \b
    mmcore export runs/blip3-tiny models/tiny
    mmcore export models/xgen-mm-base checkpoints/again --format xgen-mm
    mmcore export runs/blip3-tiny transformers/tiny --format hf
    mmcore export runs/blip3-lora adapters/lora --format peft
    """
    from mmcore.cli.copying import copying
    from mmcore.exchange import export_model

    with copying(f"exporting {run}") as on_progress:
        receipt = export_model(run, out, format_name, probe=probe, on_progress=on_progress)
    for line in receipt.summary():
        click.echo(line)
    click.echo(f"{out} is ready")
