"""Text for a terminal: columns that line up."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Collection, Sequence

import click

WIDEST = 120


def columns(rows: Sequence[Sequence[str]], indent: str = "", numbers: Collection[int] = ()) -> str:
    """Rows of the same length as lines, every column as wide as its widest word.

    Args:
        rows: the words.
        indent: what stands before every line.
        numbers: which columns end, rather than begin, at the same place.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if number in numbers else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def definitions(rows: Sequence[tuple[str, str]]) -> str:
    """Terms and what they mean, the meanings wrapped to the terminal."""
    width = min(shutil.get_terminal_size((WIDEST, 0)).columns, WIDEST)
    formatter = click.HelpFormatter(width=width)
    with formatter.indentation():
        formatter.write_dl(list(rows), col_max=46)
    return formatter.getvalue().rstrip("\n")


def heading(text: str) -> str:
    """A heading; bold on a terminal."""
    return click.style(text, bold=True)


def spread_line(label: str, values: Sequence[float], unit: str) -> str:
    """A label and the least, the middle and the greatest of what was measured."""
    least, middle, most = min(values), statistics.median(values), max(values)
    return f"{label:42}{least:8.3f} {middle:8.3f} {most:8.3f} {unit}"
