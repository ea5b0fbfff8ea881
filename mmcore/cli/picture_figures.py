"""What was measured with pictures, in lines for a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmcore.cli.layout import columns, heading

if TYPE_CHECKING:
    from mmcore.benchmarks.pictures import TilerTimes

HEAD = (
    "picture",
    "kB",
    "views",
    "pictures/s: least, median, most",
    "plain loop",
    "ratio",
    "decode ms",
    "cut ms",
    "grey levels apart: mean, most",
)


def picture_table(measured: Sequence[TilerTimes]) -> str:
    """Pictures a second, and what they differ by from those of the plain loop."""
    blocks = []
    for one in measured:
        title = f"pictures, tiler {one.tiler.name}, as in {', '.join(one.stages)}"
        rows = [HEAD]
        for times in one.times:
            rows.append(
                (
                    f"{times.width}x{times.height}",
                    f"{times.encoded_bytes / 1000:,.0f}",
                    str(times.views),
                    _rates(times.seconds),
                    _rates(times.plain_seconds),
                    f"{times.ratio:.2f}",
                    f"{statistics.median(times.decode_seconds) * 1000:.1f}",
                    f"{statistics.median(times.cut_seconds) * 1000:.1f}",
                    f"{times.mean_difference:.2g}, {times.largest_difference}",
                )
            )
        blocks.append(f"{heading(title)}\n{columns(rows, indent='  ')}")
    return "\n".join(blocks)


def _rates(seconds: Sequence[float]) -> str:
    """Pictures a second: least, median and most."""
    spread = max(seconds), statistics.median(seconds), min(seconds)
    return " ".join(f"{1 / one:7.1f}" for one in spread)
