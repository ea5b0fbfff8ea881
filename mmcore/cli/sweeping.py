"""Plan, run or rehearse a sweep before a person's eyes."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
from rich.console import Console
from rich.text import Text

from mmcore.cli.errors import INTERRUPTED
from mmcore.cli.sweep_display import SweepDisplay
from mmcore.run_folder.folder import locked
from mmcore.running.run import check_processes
from mmcore.sweeps.costs import Machine, measured_rate
from mmcore.sweeps.entering import enter
from mmcore.sweeps.folder import is_sweep, read
from mmcore.sweeps.going import How, chosen, go, left
from mmcore.sweeps.load import SweepFile
from mmcore.sweeps.machine import threads_of, visible_devices
from mmcore.sweeps.prepared import Prepared, prepare
from mmcore.sweeps.recipes import CellRecipe
from mmcore.sweeps.rehearsing import Rehearsed, rehearse_cells
from mmcore.sweeps.table import ended_table, operations, plan_lines

ROOT = Path("sweeps")

Cells = tuple[CellRecipe, ...]


def show_plan(
    file: SweepFile, cells: Cells, machine: Machine, *, parallel: int, as_json: bool
) -> None:
    """Print what the cells cost; nothing is run or written."""
    machine, speed = _speed(file, machine)
    prepared = prepare(file, cells, machine=machine)
    if as_json:
        print(json.dumps(_plan_dict(prepared, machine), indent=2))
        return
    console = Console()
    for line in plan_lines(prepared, machine, parallel, speed):
        console.print(line, highlight=False, soft_wrap=isinstance(line, Text))


def _speed(file: SweepFile, machine: Machine) -> tuple[Machine, str]:
    """The machine with a speed, if one is known, and where that is from."""
    if machine.gpu is not None:
        return machine, f"{machine.gpus} x {machine.gpu} a cell, at {machine.mfu:.0%} of the peak"
    if machine.rate is not None:
        return machine, f"at {operations(machine.rate)}/s a cell, as you say"
    folder = ROOT / file.table.name
    rate = measured_rate(read(folder)) if is_sweep(folder) else None
    if rate is None:
        return machine, ""
    told = f"at {operations(rate)}/s a cell, which those in {folder} had that have finished"
    return attrs.evolve(machine, rate=rate), told


def _plan_dict(prepared: Prepared, machine: Machine) -> dict[str, object]:
    sweep = prepared.sweep
    return {
        "sweep": sweep.name,
        "axes": [attrs.asdict(axis) for axis in sweep.axes],
        "seeds": list(sweep.seeds),
        "machine": attrs.asdict(machine),
        "cells": [
            attrs.asdict(one.cell)
            | {"seconds": one.seconds, "fits": one.fits, "memory_bytes": one.memory}
            for one in prepared.costs
        ],
        "mismatches": [str(one) for one in prepared.wrong],
    }


def run(
    file: SweepFile,
    cells: Cells,
    *,
    parallel: int,
    procs: int,
    only: str | None,
    retry_failed: bool,
) -> int:
    """Run what is left; the command's exit code.

    Raises:
        RecipeError: cells differ in what must be equal.
        RunError: an engine runs on one process, and cells are to have more.
        SweepFolderError, RunFolderError: the folder is another sweep's, or in use.
    """
    for cell in cells:
        check_processes(cell.recipe, procs)
    console = Console()
    with console.status("planning the cells"):
        prepared = prepare(file, cells, runs_here=True)
    prepared.check_match()
    folder = ROOT / file.table.name
    with locked(folder):
        entered = enter(folder, prepared, threads_of(parallel, procs))
        how = How(
            parallel=parallel,
            procs=procs,
            threads=entered.sweep.threads or 1,
            keep=file.table.keep,
            devices=visible_devices(),
        )
        wanted = chosen(entered, only)
        todo = left(entered, wanted, retry_failed=retry_failed)
        done = len(wanted) - len(todo)
        console.print(
            f"[bold]{file.table.name}[/bold] in {folder}: {_cells(len(todo))} to run, {done} "
            f"ended before; {parallel} at a time, {how.threads} thread"
            f"{'' if how.threads == 1 else 's'} each",
            highlight=False,
            soft_wrap=True,
        )
        with SweepDisplay(console, entered, todo) as display:
            whole = go(entered, todo, prepared.cells, how, display)
        entered = read(folder)
    console.print(ended_table(entered, wanted))
    if not whole:
        console.print("stopped; run the same command to go on")
        return INTERRUPTED
    failed = [cell for cell in wanted if not entered.outcomes[cell.id].finished]
    if failed:
        console.print(f"{len(failed)} failed; --retry-failed runs them again", highlight=False)
    console.print(f"mmcore report {folder}", highlight=False)
    return 1 if failed else 0


def _cells(number: int) -> str:
    return f"{number} cell{'' if number == 1 else 's'}"


def rehearse(
    file: SweepFile,
    cells: Cells,
    *,
    thin: bool,
    parallel: int,
    procs: int,
    only: str | None,
) -> int:
    """Rehearse every point of the axes; the command's exit code."""
    console = Console()

    def tell(one: Rehearsed, number: int, of: int) -> None:
        style = "green" if one.how == "finished" else "red"
        told = Text.assemble(
            f"[{number}/{of}]  {one.id}  ",
            ("rehearsed" if one.how == "finished" else one.how, style),
            f" in {one.seconds:.0f} s",
            f": {one.reason}; log: {one.log}" if one.reason else "",
        )
        console.print(told, soft_wrap=True)

    found = rehearse_cells(
        file, cells, ROOT, thin=thin, parallel=parallel, procs=procs, only=only, tell=tell
    )
    failed = [one for one in found if one.how == "failed"]
    if any(one.how == "stopped" for one in found):
        return INTERRUPTED
    return 1 if failed else 0
