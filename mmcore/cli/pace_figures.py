"""What was measured of a stage's steps, in lines for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.benchmarks.pace import Pace, Way


def pace_lines(found: Pace) -> Iterator[str]:
    """Rates of every way side by side, where the time of a step goes, and on what it was run."""
    timed = len(found.ways["packed"].seconds)
    yield heading(f"stage {found.stage}, workload {found.workload}")
    yield (
        f"  {timed} steps timed after {found.warmup}, best of {found.rounds} rounds: "
        f"{found.packs} packs, {found.tokens:,} tokens, {found.labels:,} of them learned, "
        f"{found.views:,} views"
    )
    yield columns(list(_rows(found)), "  ", numbers=range(1, 8))
    if "padded" in found.ways:
        gain = found.tokens_per_second("packed") / found.tokens_per_second("padded")
        by_cpu = found.tokens_per_cpu_second("packed") / found.tokens_per_cpu_second("padded")
        yield f"  packed is {gain:.2f} x padded by the clock, {by_cpu:.2f} x by processor time"
        yield f"  losses differ by {_largest_difference(found):.1e} at most"
    yield from _spans(found)
    yield (
        f"  on {found.device}, {found.threads} threads, {found.cores} cores; products of "
        f"1024 x 1024 matrices run at {found.matmul_rate / 1e9:,.0f} GFLOP/s; "
        f"{found.process_bytes / 1e9:.2f} GB of the host's memory at most"
    )


def _rows(found: Pace) -> Iterator[tuple[str, ...]]:
    yield (
        "",
        "tokens/s",
        "tokens/CPU s",
        "packs/s",
        "views/s",
        "step (s)",
        "padding",
        "device GB",
    )
    for way, figures in found.ways.items():
        seconds = sum(figures.seconds)
        memory = "-" if figures.peak_bytes is None else f"{figures.peak_bytes / 1e9:.2f}"
        yield (
            way,
            f"{found.tokens_per_second(way):,.0f}",
            f"{found.tokens_per_cpu_second(way):,.0f}",
            f"{found.packs / seconds:.2f}",
            f"{found.views / seconds:,.1f}",
            f"{statistics.median(figures.seconds):.4f}",
            f"{1 - found.tokens / figures.positions:.1%}",
            memory,
        )


def _largest_difference(found: Pace) -> float:
    both = zip(found.ways["packed"].losses, found.ways["padded"].losses, strict=True)
    return max(abs(one - other) for one, other in both)


def _spans(found: Pace) -> Iterator[str]:
    for way, figures in found.ways.items():
        yield f"  {way}: {_shares(found, way)}"
        assert figures.spans, "the last round times the parts"


def _shares(found: Pace, way: Way) -> str:
    spans = found.ways[way].spans
    total = sum(spans.values())
    return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in spans.items())
