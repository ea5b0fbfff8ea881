"""Train a checked recipe before a person's eyes, on one process or several."""

from __future__ import annotations

import logging
import sys
from typing import cast

import click
from rich.console import Console

from mmcore.cli.display import RunDisplay
from mmcore.cli.errors import exit_code
from mmcore.evaluation.table import final_table, stage_table
from mmcore.recipe import Recipe
from mmcore.run_folder import Resume
from mmcore.running import RunResult, check_processes, run


def train(recipe: Recipe, *, resume: str, stage: str | None, procs: int) -> None:
    """Run the recipe, print its progress, and at the end its tables.

    Raises:
        click.ClickException: one of several processes failed; it has said why.
    """
    if procs == 1:
        _train_here(recipe, resume, stage)
        return
    check_processes(recipe, procs)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=procs,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        start_method="spawn",
    )
    # Our processes say themselves what went wrong; the launcher would say it again, at length.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, _train_in_a_process)(recipe, resume, stage)
    except ChildFailedError as error:
        ranks = ", ".join(str(rank) for rank in sorted(error.failures))
        raise click.ClickException(f"rank {ranks} failed; its message is above") from None


def _train_in_a_process(recipe: Recipe, resume: str, stage: str | None) -> None:
    """One of several: an error that speaks to users is a message here, too."""
    try:
        _train_here(recipe, resume, stage)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        if code is None:
            raise
        sys.exit(code)


def _train_here(recipe: Recipe, resume: str, stage: str | None) -> None:
    console = Console()
    result = run(
        recipe,
        resume=cast(Resume, resume),  # click has checked the choice
        until=stage,
        listeners=[RunDisplay(console)],
    )
    if result.is_main:
        show(console, result)


def show(console: Console, result: RunResult) -> None:
    """The tables of a run, and where it lies."""
    if result.evaluations:
        console.print(stage_table(result.evaluations, result.stages))
        console.print(final_table(result.evaluations))
    ended = "finished" if result.finished else "stopped; run the same command to go on"
    console.print(f"{ended}: {result.folder}", highlight=False)
