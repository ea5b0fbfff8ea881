"""`mmcore bench verbs`: how fast the command itself is."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from mmcore.cli.layout import spread_line

LIGHT_VERBS = (["--help"], ["list"], ["plugins"])


@click.command()
@click.argument("recipe", required=False, type=click.Path(path_type=Path))
@click.option("--repeats", default=5, show_default=True, help="How often each verb is started.")
def command(recipe: Path | None, repeats: int) -> None:
    """Measure how long the light verbs take, beside an empty Python.

    Given a RECIPE, also how long it takes to check and to show it.
    """
    verbs = [*LIGHT_VERBS]
    if recipe is not None:
        verbs += [["check", str(recipe)], ["show", str(recipe)]]
    bare = _seconds([sys.executable, "-c", "pass"], repeats)
    click.echo(spread_line("python -c pass", bare, "s"))
    for words in verbs:
        taken = _seconds([sys.executable, "-m", "mmcore", *words], repeats)
        ratio = statistics.median(taken) / statistics.median(bare)
        line = spread_line("mmcore " + " ".join(words), taken, "s")
        click.echo(f"{line}   {ratio:.1f} x python")


def _seconds(words: list[str], repeats: int) -> list[float]:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    return taken
