"""`mmcore run`: train a recipe, stage by stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mmcore.run_folder.folder import Resume


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
@click.option(
    "--stage", metavar="NAME", help="Train this stage only, from where the one before it ended."
)
@click.option("--until", metavar="NAME", help="Stop after this stage.")
@click.option(
    "--from",
    "begin_from",
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True),
    help="Begin --stage (or the first) from the weights of this run, checkpoint or model folder.",
)
@click.option(
    "--folder",
    metavar="PATH",
    type=click.Path(path_type=Path, file_okay=False),
    help="The run folder, instead of runs/NAME.",
)
@click.option(
    "--procs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes on this machine. Across machines use torchrun, DeepSpeed's launcher or SLURM.",
)
@click.option(
    "--profile",
    is_flag=False,
    flag_value=3,
    default=None,
    metavar="[STEPS]",
    type=click.IntRange(min=1),
    help="Write a trace of some steps (3 if no number follows) for Chrome or Perfetto.",
)
@click.option(
    "--rehearse",
    is_flag=True,
    help="Run every stage for a few steps, small and on made-up rows, without weights or data.",
)
@click.option(
    "--thin", is_flag=True, help="Rehearse all widths at one layer, for one step a stage."
)
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    resume: Resume,
    stage: str | None,
    until: str | None,
    begin_from: Path | None,
    folder: Path | None,
    procs: int,
    profile: int | None,
    rehearse: bool,
    thin: bool,
) -> None:
    """Train what RECIPE describes; the results go to runs/NAME.

    Run it again to go on after an interruption.
    """
    if thin and not rehearse:
        raise click.UsageError("--thin says how to rehearse; write --rehearse --thin")
    if rehearse and profile is not None:
        raise click.UsageError("a rehearsal is too small for a trace to say much; leave out one")
    if rehearse and (stage or until or begin_from or folder or resume != "auto"):
        raise click.UsageError(
            "a rehearsal starts anew and goes through all stages; leave out --stage, --until, "
            "--from, --folder and --resume"
        )

    from mmcore.recipe import load_recipe

    # Faults show before anything heavy is imported. What this machine lacks is not one to a
    # rehearsal, which brings its own weights and rows.
    loaded = load_recipe(recipe, overrides, machine=not rehearse)

    # Threads of torch that wait for one another spin for seconds by default, and lose nearly all
    # of their time as soon as anything else runs on the machine; without spinning they lose half
    # of it to being woken. This is in between. It is read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")

    if rehearse:
        from mmcore.cli.rehearsing import rehearse_recipe

        rehearse_recipe(loaded, procs=procs, thin=thin)
    else:
        from mmcore.cli.training import Wish, train

        train(
            loaded,
            Wish(
                resume=resume,
                stage=stage,
                until=until,
                begin_from=begin_from,
                profile=profile,
                folder=folder,
            ),
            procs=procs,
        )
