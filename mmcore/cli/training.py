"""Train a checked recipe before a person's eyes, on one process or several."""

from __future__ import annotations

from typing import cast

import click
from rich.console import Console

from mmcore.cli.display import RunDisplay
from mmcore.evaluation.table import final_table, stage_table
from mmcore.recipe import Recipe
from mmcore.run_folder import Resume
from mmcore.running import RunResult, run


def train(recipe: Recipe, *, resume: str, stage: str | None, procs: int) -> None:
    """Run the recipe, print its progress, and at the end its tables.

    Raises:
        click.ClickException: one of several processes failed; it has said why.
    """
    if procs == 1:
        _train_here(recipe, resume, stage)
        return
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
    try:
        elastic_launch(config, _train_here)(recipe, resume, stage)
    except ChildFailedError as error:
        ranks = ", ".join(str(rank) for rank in sorted(error.failures))
        raise click.ClickException(f"rank {ranks} failed; its message is above") from None


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
