"""Train a checked recipe before a person's eyes, on one process or several."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import click
from rich.console import Console

from mmcore.cli.display import RunDisplay
from mmcore.cli.errors import exit_code
from mmcore.evaluation.table import final_table, stage_table
from mmcore.recipe import Recipe
from mmcore.run_folder import Resume
from mmcore.running import RunResult, check_processes, run

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@attrs.frozen(kw_only=True)
class Wish:
    """How a recipe is to be run.

    Attributes:
        resume: "auto" or "never".
        until: the stage after which to stop; None for the last one.
        max_steps: stop and save after so many steps; None for any number.
        tables: whether the run's tables are printed at its end.
    """

    resume: Resume = "auto"
    until: str | None = None
    max_steps: int | None = None
    tables: bool = True


def train(recipe: Recipe, wish: Wish, *, procs: int, apart: bool = False) -> None:
    """Run the recipe and print its progress.

    Args:
        procs: how many processes run it.
        apart: whether even a single one is a process of its own, as it must be for a run that
            others follow: engines hold on to what a process group was.

    Raises:
        click.ClickException: one of several processes failed; it has said why.
    """
    if procs == 1 and not apart:
        _train_here(recipe, wish)
        return
    check_processes(recipe, procs)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=procs,
        run_id=recipe.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    # Our processes say themselves what went wrong; the launcher would say it again, at length.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        with _own_signals():
            elastic_launch(config, _train_in_a_process)(recipe, wish)
    except ChildFailedError as error:
        raise click.ClickException(_failed(error)) from None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Afterwards, signals do here what they did before: the launcher leaves its handlers behind."""
    handlers = {one: signal.getsignal(one) for one in SIGNALS}
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)


def _failed(error: ChildFailedError) -> str:
    """Which ranks failed; one that a signal ended could not say why."""
    killed = {
        rank: signal.Signals(-failure.exitcode).name
        for rank, failure in error.failures.items()
        if failure.exitcode < 0
    }
    if killed:
        told = ", ".join(f"rank {rank} by {name}" for rank, name in sorted(killed.items()))
        hint = "; SIGKILL is most often the machine's memory running out"
        return f"killed: {told}{hint if 'SIGKILL' in killed.values() else ''}"
    ranks = ", ".join(str(rank) for rank in sorted(error.failures))
    return f"rank {ranks} failed; its message is above"


def _train_in_a_process(recipe: Recipe, wish: Wish) -> None:
    """One of several: an error that speaks to users is a message here, too."""
    try:
        _train_here(recipe, wish)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        if code is None:
            raise
        sys.exit(code)


def _train_here(recipe: Recipe, wish: Wish) -> None:
    console = Console()
    result = run(
        recipe,
        resume=wish.resume,
        until=wish.until,
        max_steps=wish.max_steps,
        listeners=[RunDisplay(console)],
    )
    if result.is_main and wish.tables:
        show(console, result)


def show(console: Console, result: RunResult) -> None:
    """The tables of a run, and where it lies."""
    if result.evaluations:
        console.print(stage_table(result.evaluations, result.stages))
        console.print(final_table(result.evaluations))
    ended = "finished" if result.finished else "stopped; run the same command to go on"
    console.print(f"{ended}: {result.folder}", highlight=False)
