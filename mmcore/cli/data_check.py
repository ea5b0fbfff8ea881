"""`mmcore data check`: open every source of a recipe, read a little, and say all that is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mmcore.cli.looking import options, reading


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--rows",
    default=100,
    show_default=True,
    type=click.IntRange(min=1),
    help="Rows of every source that are read and their pictures decoded.",
)
@click.option("--json", "as_json", is_flag=True, help="The findings for programs.")
@options
def command(
    recipe: Path,
    rows: int,
    as_json: bool,
    stage: str | None,
    made_up: bool,
    overrides: tuple[str, ...],
) -> None:
    """Open every source of RECIPE, read some rows, and say what becomes of them.

    One bad source does not hide the others. The exit code is 1 if a source cannot be read, rejects
    more than data.max_rejected_share, or gives nothing to learn.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)

    import attrs

    from mmcore.cli.findings import check_lines
    from mmcore.inspection.check import check, work
    from mmcore.inspection.stages import looked_at

    with looked_at(loaded, stage=stage, made_up=rows if made_up else 0) as look:
        with reading(work(look, rows)) as on_step:
            found = check(look, rows, on_step)
        if as_json:
            stages = [attrs.asdict(one) for one in found]
            click.echo(json.dumps({"notes": list(look.notes), "stages": stages}, indent=1))
        else:
            for line in check_lines(found, look.notes, paths=not look.made_up):
                click.echo(line)
    if any(one.violations for one in found):
        raise click.exceptions.Exit(1)
