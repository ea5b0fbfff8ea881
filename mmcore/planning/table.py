"""A plan for a person: a table and a few lines a stage, none wider than a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mmcore.planning.report import FlopPlan, Plan, StagePlan, TokenPlan

UNITS = {"PFLOP": 1e15, "TFLOP": 1e12, "GFLOP": 1e9}


def lines(plan: Plan) -> Iterator[RenderableType]:
    """What is printed, in order."""
    kind = f"{plan.gpu.name} GPU" if plan.gpu else "GPU"
    rate = f", at {plan.mfu:.0%} of the peak" if plan.gpu else ""
    yield Text.assemble((plan.recipe, "bold"), f" on {_many(plan.gpus, kind)}{rate}")
    for stage in plan.stages:
        yield from _stage(stage)
    if plan.seconds is not None:
        hours = plan.seconds / 3600
        yield Text(f"in all: {hours:,.1f} hours, {hours * plan.gpus:,.0f} GPU hours")
    yield Text(f"most memory: {_size(plan.memory)} a GPU{_fit(plan.fits)}")


def _stage(stage: StagePlan) -> Iterator[RenderableType]:
    yield _memory(stage)
    for part in stage.parts:
        yield _line(
            f"{part.part} ({part.component}): {part.trainable:,} learn, {part.frozen:,} frozen"
        )
    yield from map(_line, _tokens(stage.tokens))
    packs = _many(stage.packs_per_step, "pack")
    yield _line(f"a step: {packs}, at most {stage.packs_per_gpu:,} on a GPU")
    yield _line(f"  {_flops(stage.flops)}")
    steps = "steps unknown" if stage.steps is None else _many(stage.steps, "step")
    hours = "" if stage.seconds is None else f", {stage.seconds / 3600:,.1f} hours"
    yield _line(f"{steps}{hours}{_fit(stage.fits)}")
    for note in stage.notes:
        yield _line(f"note: {note}")
    for change in stage.changes:
        yield _line(f"{_size(change.bytes)}{_fit(change.fits)}, with {change.change}")


def _memory(stage: StagePlan) -> Table:
    unit, size = ("GB", 1e9) if stage.memory.most >= 1e9 else ("MB", 1e6)
    table = Table(title=f"stage {stage.name}", title_justify="left", box=SIMPLE)
    table.add_column("memory of a GPU")
    table.add_column(unit, justify="right")
    for item in stage.memory.items:
        table.add_row(item.name, f"{item.bytes / size:,.2f}")
    table.add_row("in a step", f"{stage.memory.step / size:,.2f}")
    table.add_row("at the start", f"{stage.memory.start / size:,.2f}")
    for item in stage.memory.host:
        table.add_row(f"on the host: {item.name}", f"{item.bytes / size:,.2f}")
    return table


def _tokens(tokens: TokenPlan) -> Iterator[str]:
    views = _many(tokens.views_per_picture, "view")
    yield (
        f"a picture: {_many(tokens.per_view, 'token')} a view, at most "
        f"{tokens.per_picture:,} in {views}"
    )
    held = (
        _many(tokens.pack, "token"),
        _many(tokens.views_of_pack, "view"),
        _many(tokens.samples_of_pack, "sample"),
    )
    yield f"a full pack: {', '.join(held)}"


def _flops(flops: FlopPlan) -> str:
    unit = next((one for one, size in UNITS.items() if flops.total >= size), "GFLOP")
    total, forward, backward, recompute = (
        f"{count / UNITS[unit]:,.1f}"
        for count in (flops.total, flops.forward, flops.backward, flops.recompute)
    )
    return f"{total} {unit}: forward {forward}, backward {backward}, recomputed {recompute}"


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _fit(fits: bool | None) -> str:
    return "" if fits is None else ", fits" if fits else ", does not fit"


def _line(text: str) -> Padding:
    """Further lines of a long one begin under its first word."""
    return Padding(Text(text), (0, 0, 0, 2), expand=False)
