"""A sweep for a person: what its cells cost, and how they ended."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mmcore.sweeps.costs import CellCost, Machine, by_point
from mmcore.sweeps.folder import Cell, SweepFolder
from mmcore.sweeps.prepared import Prepared

REASON_LENGTH = 120
"""Characters of a reason in a table; all of it is in ``outcomes.jsonl`` and the cell's log."""

_COUNTS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("K", 1e3))
_FLOPS = (("EFLOP", 1e18), ("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6))


def count(number: float | None) -> str:
    """``2.2 M``; tokens and parameters."""
    if number is None:
        return "?"
    for unit, size in _COUNTS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"


def operations(number: float | None) -> str:
    """``11.4 TFLOP``."""
    if number is None:
        return "?"
    for unit, size in _FLOPS:
        if number >= size:
            digits = f"{number / size:,.0f}" if number >= 1000 * size else f"{number / size:.3g}"
            return f"{digits} {unit}"
    return f"{number:,.0f} FLOP"


def time(seconds: float | None) -> str:
    """``3.2 h``, or minutes or seconds where they say more."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:,.1f} h" if seconds >= 3600 else f"{seconds / 60:,.1f} min"


def plan_lines(
    prepared: Prepared, machine: Machine, parallel: int, speed: str
) -> Iterator[RenderableType]:
    """What `mmcore sweep --plan` prints, in order.

    Args:
        machine: that the costs were made for.
        parallel: cells at a time.
        speed: where the machine's speed is from, in words; empty where there is none.
    """
    sweep, costs = prepared.sweep, prepared.costs
    seeds = ", ".join(map(str, sweep.seeds))
    points = list(by_point(costs).values())
    yield Text.assemble(
        (sweep.name, "bold"),
        f": {len(sweep.cells)} cells, {len(points)} points with seeds {seeds}",
    )
    yield _plan_table([axis.name for axis in sweep.axes], points)
    yield Text(_totals(costs, parallel, machine))
    if speed:
        yield Text(f"hours: {speed}")
    else:
        yield Text("no hours: name a --gpu, or the --flops-per-second of this machine")
    yield from map(Text, _remarks(prepared))


def _plan_table(axes: Sequence[str], points: Sequence[CellCost]) -> Table:
    table = Table(box=SIMPLE, pad_edge=False)
    for axis in axes:
        table.add_column(axis)
    timed = any(one.seconds is not None for one in points)
    judged = any(one.fits is not None for one in points)
    figures = ["learn", "tokens", "steps", "FLOPs", *(["a cell"] if timed else []), "memory"]
    for name in figures:
        table.add_column(name, justify="right")
    if judged:
        table.add_column("fits")
    for one in points:
        cell = one.cell
        table.add_row(
            *cell.labels.values(),
            count(cell.trainable),
            count(cell.tokens),
            "?" if cell.steps is None else f"{cell.steps:,}",
            operations(cell.flops),
            *([time(one.seconds)] if timed else []),
            _memory(one.memory),
            *([("yes" if one.fits else "no")] if judged else []),
        )
    return table


def _memory(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _totals(costs: Sequence[CellCost], parallel: int, machine: Machine) -> str:
    def total(values: Sequence[float | None]) -> float | None:
        known = [one for one in values if one is not None]
        return sum(known) if len(known) == len(values) else None

    tokens = total([one.cell.tokens for one in costs])
    flops = total([one.cell.flops for one in costs])
    seconds = total([one.seconds for one in costs])
    text = f"in all: {count(tokens)} tokens, {operations(flops)}"
    if seconds is not None:
        at_once = "one cell after another" if parallel == 1 else f"{parallel} cells at a time"
        text += f", {time(seconds / parallel)} with {at_once}"
        if machine.gpu is not None:
            text += f", {seconds / 3600 * machine.gpus:,.0f} GPU hours"
    return text


def _remarks(prepared: Prepared) -> Iterator[str]:
    match = prepared.file.table.match
    if match is None:
        return
    if prepared.wrong:
        yield f"cells do not match in {match.what}, and will not be run as they are:"
        yield from (f"  {one}" for one in prepared.wrong)
        if not match.set:
            yield "  set = true in [match] makes the stages of every cell as long as it takes"
    else:
        how = "made to match" if match.set else "match"
        yield f"cells {how} in {match.what}, within {match.within:.1%}"


def ended_table(folder: SweepFolder, cells: Sequence[Cell]) -> Table:
    """How every cell ended, in the sweep's order."""
    table = Table(box=SIMPLE, pad_edge=False)
    for name in ("cell", "", "time", "why"):
        table.add_column(name, overflow="fold")
    for cell in cells:
        outcome = folder.outcomes.get(cell.id)
        if outcome is None:
            begun = folder.run(cell.id).exists()
            table.add_row(Text(cell.id), "begun" if begun else "to do", "", "")
        else:
            style = "green" if outcome.finished else "red"
            table.add_row(
                Text(cell.id),
                Text(outcome.outcome, style=style),
                time(outcome.seconds),
                Text(textwrap.shorten(outcome.reason, REASON_LENGTH, placeholder=" ...")),
            )
    return table
