"""`mmcore report`: the page of a run, or of a sweep."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default report.html in the folder.",
)
@click.option(
    "--markdown",
    "manual",
    type=click.Path(path_type=Path, file_okay=False),
    help="Of a sweep, also write a page NAME.md with its pictures into this folder.",
)
def command(folder: Path, output: Path | None, manual: Path | None) -> None:
    """Write a page of FOLDER, a run or a sweep: curves, scores, time, what went wrong.

    One HTML file, without scripts, that asks nothing of any server; also while the run or the sweep
    goes on. Of a sweep there are also its pictures (figures/) and its numbers (cells.csv,
    summary.csv, differences.csv), beside the page.
    """
    from mmcore.sweeps.folder import is_sweep

    if is_sweep(folder):
        from mmcore.reporting.sweep.writing import write

        for path in write(folder, output or folder / "report.html", manual):
            click.echo(path)
        return
    if manual is not None:
        raise click.UsageError("--markdown is for a sweep, and this is none: it has no cells.json")
    from mmcore.reporting import facts
    from mmcore.reporting.page import render
    from mmcore.reporting.story import read
    from mmcore.run_folder.folder import write_whole

    path = output or folder / "report.html"
    write_whole(path, render(read(folder), facts.read(folder)))
    click.echo(path)
