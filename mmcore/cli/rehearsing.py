"""Rehearse a recipe before a person's eyes: once up to the middle of its last stage, then on."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from rich.console import Console

from mmcore.cli.training import Wish, train
from mmcore.recipe import Recipe, load_recipe, to_toml
from mmcore.run_folder.folder import write_whole
from mmcore.running.rehearsal import Rehearsal, check_sources, cleared, rehearsal_of, with_sdpa

ROOT = Path("runs")
RECIPE = "rehearsal.toml"


def rehearse_recipe(recipe: Recipe, *, procs: int, thin: bool) -> None:
    """Run every stage small; say what was replaced, and that every source was trained on.

    Raises:
        ValueError: something of the recipe does not work; the message says what.
    """
    began = time.monotonic()
    console = Console()
    rehearsal = rehearsal_of(recipe, root=ROOT, processes=procs, thin=thin)
    if not torch.cuda.is_available():
        rehearsal = with_sdpa(rehearsal)
    console.print(f"[bold]rehearsal of {recipe.name}[/bold]; what differs from the real run:")
    for change in rehearsal.changes:
        console.print(f"  {change}", highlight=False)
    folder = ROOT / rehearsal.recipe.name
    with cleared(folder):
        _go(rehearsal, folder, procs, console)
        told = f"all {len(rehearsal.recipe.stages)} stages"
        if not thin:  # whose one step a stage cannot reach every source
            check_sources(rehearsal, folder)
            told += " and every source"
    seconds = time.monotonic() - began
    console.print(f"rehearsed {told} in {seconds:.0f} s: {folder}", highlight=False)


def _go(rehearsal: Rehearsal, folder: Path, procs: int, console: Console) -> None:
    """Train it, with a stop in between where it has one."""
    # Written out and read again, it meets the same checks as any recipe that is run here.
    write_whole(folder / RECIPE, to_toml(rehearsal.recipe))
    small = load_recipe(folder / RECIPE, machine=True)
    if rehearsal.interrupted_after:
        wish = Wish(max_steps=rehearsal.interrupted_after, tables=False)
        if not train(small, wish, procs=procs, apart=True):
            raise KeyboardInterrupt
        console.print("stopped on purpose, within a stage; going on from its checkpoint")
    if not train(small, Wish(tables=False), procs=procs, apart=True):
        raise KeyboardInterrupt
