"""`mmcore data prepare-dpo`: preference pairs with what a reference thinks of them, for DPO."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmcore.cli.layout import columns

if TYPE_CHECKING:
    from mmcore.preparing import Counts

SHOWN = 10
"""Rejected rows that are told; the receipts of the units have them all."""


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--model", required=True, metavar="RUN_OR_FOLDER", type=click.Path(path_type=Path),
    help="The reference: a run folder, a checkpoint or a model folder.",
)  # fmt: skip
@click.option(
    "-o", "--out", "folder", required=True, metavar="FOLDER", type=click.Path(path_type=Path),
    help="Folder of the prepared pairs.",
)  # fmt: skip
@click.option("--stage", metavar="NAME", help="The stage whose pairs these are, if there are more.")
@click.option(
    "--noise",
    metavar="STEP",
    type=click.IntRange(0, 999),
    help="Also make pairs whose worse answer is the model's own to pictures under noise: that of a "
    "diffusion after STEP of 1000 steps, such as 500.",
)
@click.option(
    "--max-new-tokens",
    default=512,
    show_default=True,
    type=click.IntRange(min=1),
    help="Longest answer to noised pictures.",
)
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
@click.option(
    "--rows-per-file",
    default=128,
    show_default=True,
    type=click.IntRange(min=1),
    help="Rows that are written together: what is lost at most when it is cut off.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ...")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change the recipe first, as in stages.dpo.batch.max_tokens=4096.",
)
def command(
    recipe: Path,
    model: Path,
    folder: Path,
    stage: str | None,
    noise: int | None,
    max_new_tokens: int,
    seed: int,
    rows_per_file: int,
    device: str,
    overrides: tuple[str, ...],
) -> None:
    """Ask a model about RECIPE's preference pairs, and write them with what it says.

    Each pair gets the log-probabilities of both answers under the model, for the objective dpo with
    reference = "data"; the source prepared-pairs reads the folder. Typed again, the command goes on
    where it was cut off.

    \b
    mmcore data prepare-dpo recipes/blip3_dpo.toml --model runs/blip3-4b -o data/dpo --noise 500
    """
    from mmcore.recipe import load_recipe

    loaded = load_recipe(recipe, overrides)

    from mmcore.cli.looking import reading
    from mmcore.loading import device_of
    from mmcore.preparing import Noised, prepare_dpo, stage_of, work_of
    from mmcore.running.making_up import make_up

    chosen = stage_of(loaded, stage)
    make_up(chosen, lambda text: click.echo(text, err=True))
    work = work_of(loaded, chosen, rows_per_file)
    with reading(work.rows) as on_rows:
        counts = prepare_dpo(
            work,
            model,
            folder,
            noise=None if noise is None else Noised(noise, max_new_tokens),
            seed=seed,
            device=str(device_of(device)),
            on_rows=on_rows,
        )
    _report(folder, counts, noise)
    if not counts.given:
        raise click.exceptions.Exit(1)


def _report(folder: Path, counts: Counts, noise: int | None) -> None:
    click.echo(f"{counts.rows:,} rows; the pairs are in {folder}")
    rows = [("pairs", counts.given, "")]
    if counts.given:
        share = f"{counts.agreed / counts.given:7.1%} with the preferred answer likelier"
        rows = [("pairs", counts.given, share)]
    if noise is not None:
        cut = f"{counts.cut:,} of them cut off at the longest length" if counts.cut else ""
        rows.append((f"pairs by noise, step {noise}", counts.noised, cut))
    rows += [(f"rejected: {reason}", n, "") for reason, n in counts.reasons.items()]
    click.echo(columns([(label, f"{n:,}".rjust(9), told) for label, n, told in rows]))
    for key, reason, detail in counts.rejected[:SHOWN]:
        click.echo(f"{key}: {detail} ({reason})")
    if len(counts.rejected) > SHOWN:
        click.echo(f"and {len(counts.rejected) - SHOWN:,} more; all of them in {folder / 'units'}")
