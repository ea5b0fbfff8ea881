"""What the verbs that look at data share: options, and the bar of a long look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

MADE_UP_ROWS = 64
"""Of every source, where more are not asked for: as many as lanes of the large recipes."""


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--stage``, ``--made-up`` and ``--set``."""
    for option in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change the recipe first, as in stages.sft.batch.max_tokens=4096.",
        ),
        click.option(
            "--made-up",
            is_flag=True,
            help="Look at made-up rows in every source's own format; needs no dataset.",
        ),
        click.option("--stage", metavar="NAME", help="Look at this stage only."),
    ):
        command = option(command)
    return command


@contextmanager
def reading(total: int) -> Iterator[Callable[[str, int], None]]:
    """What is yielded is told what is being read and how much more of it was; on a terminal that
    is a bar, which goes away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()
    with Progress(
        *shown, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("opening", total=total)

        def on_step(what: str, count: int) -> None:
            progress.update(task, advance=count, description=what)

        yield on_step
