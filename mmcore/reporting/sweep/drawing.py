"""Pictures of several panels, as SVG for a page and as PNG files, byte for byte the same."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from mmcore.reporting.figures import STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, which the colour-blind tell apart; without yellow, which white swallows."""
DASHES = ("-", "--", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

MOST_LINES = 12
"""More are not told apart by eye: the others are left to the tables, and that is said."""

DPI = 150
COLOURS = 128
"""Of a PNG."""
WIDTH = 8.6
"""Inches, of every picture."""


@attrs.frozen
class Picture:
    """A picture of the page.

    Attributes:
        name: of its file, without the ending.
        title: over it.
        note: what is to be known to read it.
        svg, png: it.
    """

    name: str
    title: str
    note: str
    svg: str
    png: bytes


def shape(count: int) -> tuple[int, int]:
    """Rows and columns for so many panels."""
    columns = min(count, 3) if count != 4 else 2
    return math.ceil(count / columns), columns


def panels(
    name: str,
    title: str,
    note: str,
    count: int,
    draw: Callable[[Sequence[Axes]], None],
    *,
    legend: bool,
    share_y: bool = False,
) -> Picture:
    """Draw on so many panels; one legend below all of them, where it covers nothing."""
    import matplotlib
    from matplotlib.figure import Figure as Drawn

    rows, columns = shape(count)
    with matplotlib.rc_context(STYLE):
        height = (2.3 if rows > 1 else 3.2) * rows + 0.4
        figure = Drawn(figsize=(WIDTH, height), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=share_y).ravel().tolist()
        for spare in axes[count:]:
            spare.remove()
        for axis in axes[:count]:
            axis.set_axisbelow(True)
        draw(axes[:count])
        if legend:
            _legend(figure, axes[0])
        return Picture(name, title, note, _svg(figure), _png(figure))


def _legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    if names:
        longest = max(map(len, names))
        columns = max(1, min(len(names), int(110 / (longest + 8))))
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _png(figure: Figure) -> bytes:
    """In a palette, which takes a third of the room: curves and bands have few colours."""
    from PIL import Image

    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    return file.getvalue()
