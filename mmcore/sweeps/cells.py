"""From the table of a sweep to its cells: which changes each makes, and what it is called."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Sequence

import attrs

from mmcore.recipe.tree import KeyPath
from mmcore.sweeps.folder import Axis
from mmcore.sweeps.schema import AxisTable, SweepTable
from mmcore.sweeps.toml_text import toml_text

LONGEST = 100
"""Characters of an id; it names a folder, and files beside it."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@attrs.frozen
class Point:
    """A point of an axis: its label, and the changes that it makes, with where each is written."""

    label: str
    changes: tuple[tuple[str, KeyPath], ...]


@attrs.frozen
class Combination:
    """A cell before its recipe is known.

    Attributes:
        id: names its folder.
        labels: its point on every axis, in order.
        seed: of its recipe.
        changes: of the recipe, in order, with where in the sweep's file each is written; the
            empty path for what is written nowhere.
    """

    id: str
    labels: tuple[tuple[str, str], ...]
    seed: int
    changes: tuple[tuple[str, KeyPath], ...]

    @property
    def overrides(self) -> tuple[str, ...]:
        return tuple(text for text, _ in self.changes)


def points(axis: AxisTable, number: int) -> tuple[Point, ...]:
    """The points of the axis, which is the ``number``-th of the file."""
    here: KeyPath = ("axes", number)
    if axis.key is None:
        return tuple(
            Point(
                point.label,
                tuple(
                    (text, (*here, "points", nth, "set", one)) for one, text in enumerate(point.set)
                ),
            )
            for nth, point in enumerate(axis.points)
        )
    labels = axis.labels or tuple(map(_label, axis.values))
    return tuple(
        Point(label, ((f"{axis.key}={toml_text(value)}", (*here, "values", nth)),))
        for nth, (label, value) in enumerate(zip(labels, axis.values, strict=True))
    )


def axes(table: SweepTable) -> tuple[Axis, ...]:
    """The axes by their labels."""
    return tuple(
        Axis(axis.name, tuple(point.label for point in points(axis, number)))
        for number, axis in enumerate(table.axes)
    )


def combinations(table: SweepTable) -> Iterator[Combination]:
    """All cells: every combination of points with every seed, the seeds of a point together.

    The changes of a cell are those of the file, of the axes in order, its seed, and the last ones.
    """
    of_axes = [points(axis, number) for number, axis in enumerate(table.axes)]
    together = zip(*of_axes, strict=True) if table.combine == "list" else None
    first = tuple((text, ("set", nth)) for nth, text in enumerate(table.set))
    last = tuple((text, ("set_last", nth)) for nth, text in enumerate(table.set_last))
    for chosen in together or itertools.product(*of_axes):
        labels = tuple(
            (axis.name, point.label) for axis, point in zip(table.axes, chosen, strict=True)
        )
        changes = tuple(change for point in chosen for change in point.changes)
        for nth, seed in enumerate(table.seeds):
            own: tuple[str, KeyPath] = (f"seed={seed}", ("seeds", nth))
            yield Combination(cell_id(labels, seed), labels, seed, (*first, *changes, own, *last))


def cell_id(labels: Sequence[tuple[str, str]], seed: int) -> str:
    """``sampler=mlp,seed=1``: the same for the same labels, and fit to name a file.

    Where letters of a label had to be replaced, or it is too long, the end of a hash tells it from
    others.
    """
    told = [*labels, ("seed", str(seed))]
    whole = ",".join(f"{name}={label}" for name, label in told)
    safe = ",".join(f"{name}={_UNSAFE.sub('_', label)}" for name, label in told)
    if safe == whole and len(whole) <= LONGEST:
        return whole
    tail = hashlib.sha256(whole.encode()).hexdigest()[:8]
    end = f",seed={seed}"
    head = safe.removesuffix(end)[: LONGEST - len(end) - len(tail) - 1]
    return f"{head}-{tail}{end}"


def _label(value: object) -> str:
    """Words as they are; an empty one would be no label."""
    return value if isinstance(value, str) and value else toml_text(value).replace(" ", "")
