"""A plan for a person: a table and a few lines a stage."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.table import Table

from mmcore.planning.report import Plan, StagePlan


def lines(plan: Plan) -> Iterator[str | Table]:
    """What is printed, in order."""
    kind = f" {plan.gpu.name}" if plan.gpu else ""
    yield f"[bold]{plan.recipe}[/bold] on {plan.gpus}{kind} GPUs, {plan.mfu:.0%} of the peak"
    for stage in plan.stages:
        yield from _stage(stage)
    if plan.seconds is not None:
        hours = plan.seconds / 3600
        yield f"in all: {hours:,.1f} hours, {hours * plan.gpus:,.0f} GPU hours"
    yield f"most memory: {plan.memory / 1e9:.1f} GB a GPU{_fit(plan.fits)}"


def _stage(stage: StagePlan) -> Iterator[str | Table]:
    table = Table(title=f"stage {stage.name}", title_justify="left", box=SIMPLE)
    table.add_column("memory of a GPU")
    table.add_column("GB", justify="right")
    for item in stage.memory.items:
        table.add_row(item.name, f"{item.bytes / 1e9:.2f}")
    table.add_row("in a step", f"{stage.memory.step / 1e9:.2f}")
    table.add_row("at the start", f"{stage.memory.start / 1e9:.2f}")
    yield table
    for part in stage.parts:
        yield f"  {part.part} ({part.component}): {part.trainable:,} learn, {part.frozen:,} frozen"
    tokens = stage.tokens
    yield (
        f"  a picture: {tokens.per_view} tokens, at most {tokens.per_picture} in "
        f"{tokens.views_per_picture} views; "
        f"a pack: {tokens.pack} tokens, {tokens.views_of_pack} views"
    )
    flops = stage.flops
    yield (
        f"  a step: {flops.total / 1e12:,.1f} TFLOP (forward {flops.forward / 1e12:,.1f}, backward "
        f"{flops.backward / 1e12:,.1f}, recomputed {flops.recompute / 1e12:,.1f})"
    )
    steps = "unknown" if stage.steps is None else f"{stage.steps:,}"
    hours = "" if stage.seconds is None else f", {stage.seconds / 3600:,.1f} hours"
    yield f"  {steps} steps{hours}{_fit(stage.fits)}"
    for note in stage.notes:
        yield f"  note: {note}"
    for change in stage.changes:
        yield f"  {change.change}: {change.bytes / 1e9:.1f} GB{_fit(change.fits)}"


def _fit(fits: bool | None) -> str:
    return "" if fits is None else ", fits" if fits else ", does not fit"
