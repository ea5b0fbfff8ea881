"""`mmcore run`: train a recipe, stage by stage."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the recipe, e.g. stages.sft.optimizer.lr=2e-5.",
)
@click.option(
    "--resume",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "never"]),
    help="Go on where the run folder ends, or start anew and keep the old folder aside.",
)
@click.option("--stage", help="Run only up to the end of this stage.")
@click.option(
    "--procs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes on this machine. Across machines use torchrun, DeepSpeed's launcher or SLURM.",
)
def command(
    recipe: Path, overrides: tuple[str, ...], resume: str, stage: str | None, procs: int
) -> None:
    """Train what RECIPE describes; the results go to runs/NAME.

    Run it again to go on after an interruption.
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(
        recipe, overrides, machine=True
    )  # faults show before anything heavy is imported

    # Threads of torch that wait for one another spin for seconds by default, and lose nearly all
    # of their time as soon as anything else runs on the machine; without spinning they lose half
    # of it to being woken. This is in between. It is read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

    from mmcore.cli import training

    training.train(loaded, resume=resume, stage=stage, procs=procs)
