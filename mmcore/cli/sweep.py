"""`mmcore sweep`: one recipe many times over, differing in what is asked about."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("sweep", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a key of the sweep (axes.NAME.values=[1,2]), or of the recipe in all cells.",
)
@click.option(
    "--recipe", type=click.Path(path_type=Path), help="Another recipe than the sweep's own."
)
@click.option("--scale", metavar="WORD", help="Make the changes that [scales] has under this word.")
@click.option("--plan", "plans", is_flag=True, help="Only say what the cells cost.")
@click.option("--rehearse", "rehearses", is_flag=True, help="Rehearse every point, one seed each.")
@click.option("--thin", is_flag=True, help="Rehearse all widths at one layer.")
@click.option(
    "--parallel", default=1, show_default=True, type=click.IntRange(min=1), help="Cells at a time."
)
@click.option(
    "--procs", default=1, show_default=True, type=click.IntRange(min=1), help="Processes of a cell."
)
@click.option("--only", metavar="PATTERN", help="Run these cells, such as 'sampler=mlp,*'.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that have failed.")
@click.option("--gpus", default=1, show_default=True, type=click.IntRange(min=1), help="Of a cell.")
@click.option("--gpu", help="Their kind, such as h100-80g, for the hours of --plan.")
@click.option("--mfu", default=0.4, show_default=True, help="Share of the peak that is reached.")
@click.option(
    "--flops-per-second",
    "rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Speed of a cell on this machine, instead of --gpu, such as 2e10.",
)
@click.option("--json", "as_json", is_flag=True, help="The plan for programs.")
def command(
    sweep: Path,
    overrides: tuple[str, ...],
    recipe: Path | None,
    scale: str | None,
    plans: bool,
    rehearses: bool,
    thin: bool,
    parallel: int,
    procs: int,
    only: str | None,
    retry_failed: bool,
    gpus: int,
    gpu: str | None,
    mfu: float,
    rate: float | None,
    as_json: bool,
) -> None:
    """Run the cells of SWEEP: a recipe with axes of changes and seeds; into sweeps/NAME.

    Run it again to go on: what has finished is not repeated.
    """
    if plans and rehearses:
        raise click.UsageError("--plan and --rehearse are two things; leave out one")
    if thin and not rehearses:
        raise click.UsageError("--thin says how to rehearse; write --rehearse --thin")
    if plans and (only or retry_failed):
        raise click.UsageError("--plan is of all cells; leave out --only and --retry-failed")
    if as_json and not plans:
        raise click.UsageError("--json is a form of the plan; write --plan --json")
    if not plans and (gpu or rate or gpus != 1):
        raise click.UsageError("--gpu, --gpus and --flops-per-second are for the hours of --plan")
    if gpu and rate:
        raise click.UsageError("--gpu and --flops-per-second both say how fast; leave out one")
    if rehearses and retry_failed:
        raise click.UsageError("a rehearsal starts anew; leave out --retry-failed")

    from mmcore.sweeps.load import load_sweep
    from mmcore.sweeps.recipes import load_cells

    # Faults show before anything heavy is imported.
    file = load_sweep(sweep, overrides, recipe=recipe, scale=scale)
    cells = load_cells(file, machine=not (plans or rehearses))

    from mmcore.cli import sweeping

    if plans:
        from mmcore.sweeps.costs import Machine

        machine = Machine(gpus=gpus, gpu=gpu, mfu=mfu, rate=rate)
        sweeping.show_plan(file, cells, machine, parallel=parallel, as_json=as_json)
        return
    if rehearses:
        code = sweeping.rehearse(file, cells, thin=thin, parallel=parallel, only=only, procs=procs)
    else:
        code = sweeping.run(
            file, cells, parallel=parallel, procs=procs, only=only, retry_failed=retry_failed
        )
    raise SystemExit(code)
