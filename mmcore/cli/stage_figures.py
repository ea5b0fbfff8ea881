"""What was measured of a stage's data, in lines for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.benchmarks.stage_data import StageFigures
    from mmcore.benchmarks.streams import Rate


def figure_lines(found: StageFigures) -> Iterator[str]:
    """A table of rates, and below it what is said of the mixture, of resuming and of memory."""
    yield heading(f"packs of stage {found.stage}, {found.sources} sources, one thread")
    head = ("lanes", "packs/s", "samples/s", "views/s", "tokens/s", "CPU share", "full of tokens")
    rows = [head, _row(found.one), _row(found.all)]
    yield columns([(*row, view) for row, view in zip(rows, _views(found), strict=True)], "  ")
    yield f"  {found.all.lanes} lanes give {found.lanes_ratio:.0%} of one lane's, by CPU time"
    yield f"  the source farthest from its share is {found.share_error:.2f} points off"
    resumed = ", ".join(
        f"{statistics.median(seconds):.3f} s behind {position:,} samples"
        for position, seconds in found.resume_seconds.items()
    )
    yield f"  first pack of a lane that goes on: {resumed}"
    first, half, last = found.memory[0], found.memory[len(found.memory) // 2], found.memory[-1]
    held = (f"{point.resident / 1e6:,.0f} MB at {point.rows:,}" for point in (first, half, last))
    yield f"  memory of the process: {', '.join(held)} rows"
    if last.rows > half.rows:
        yield (
            f"  rows: {half.rows / half.seconds:,.0f} a second in the first half, "
            f"{(last.rows - half.rows) / (last.seconds - half.seconds):,.0f} in the second"
        )


def _row(rate: Rate) -> tuple[str, ...]:
    seconds = rate.seconds
    return (
        str(rate.lanes),
        f"{rate.packs / seconds:.1f}",
        f"{rate.samples / seconds:,.0f}",
        f"{rate.views / seconds:,.0f}",
        f"{rate.tokens / seconds:,.0f}",
        f"{rate.cpu_seconds / seconds:.0%}",
        f"{rate.token_fill:.1%}",
    )


def _views(found: StageFigures) -> tuple[str, str, str]:
    return ("full of views", f"{found.one.view_fill:.1%}", f"{found.all.view_fill:.1%}")
