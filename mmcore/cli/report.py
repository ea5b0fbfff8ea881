"""`mmcore report`: the page of a run."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default report.html in the run folder.",
)
def command(run: Path, output: Path | None) -> None:
    """Write a page of RUN (a run folder): curves, validation, time, what went wrong.

    One HTML file, without scripts, that asks nothing of any server; also while the run goes on.
    """
    from mmcore.reporting.page import render
    from mmcore.reporting.story import read
    from mmcore.run_folder.folder import write_whole

    path = output or run / "report.html"
    write_whole(path, render(read(run)))
    click.echo(path)
