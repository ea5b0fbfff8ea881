"""Whether cells are as long as one another, in tokens or in FLOPs, and making them so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mmcore.recipe import Fault, RecipeError
from mmcore.sweeps.costs import CellCost, by_point, lengths
from mmcore.sweeps.load import SweepFile
from mmcore.sweeps.recipes import CellRecipe

UNITS = {"tokens": "tokens", "flops": "FLOPs"}


@attrs.frozen(kw_only=True)
class Mismatch:
    """A point of the axes that is longer or shorter than the first one, by more than it may be.

    Attributes:
        point: which, in words.
        has, wanted: tokens or FLOPs; None where only the data can tell.
        within: how far it may be from what is wanted, as a share of it.
        tokens: positions that it trains on; None likewise.
    """

    point: str
    what: str
    has: float | None
    wanted: float | None
    within: float
    tokens: float | None

    @property
    def ratio(self) -> float | None:
        return self.has / self.wanted if self.has and self.wanted else None

    def __str__(self) -> str:
        unit = UNITS[self.what]
        if self.ratio is None:
            return f"{self.point}: how many {unit} it takes only the data can tell"
        ratio = self.ratio
        text = (
            f"{self.point}: {self.has:.4g} {unit}, and the first cell has {self.wanted:.4g} "
            f"({ratio - 1:+.1%}; {self.within:.1%} is allowed)"
        )
        if self.what == "flops" and self.tokens is not None:
            text += f"; at {self.tokens / ratio:.4g} tokens instead of {self.tokens:.4g} it matches"
        return text


def mismatches(file: SweepFile, found: Sequence[CellCost]) -> tuple[Mismatch, ...]:
    """Every point that does not match the first one; none where the file does not ask."""
    match = file.table.match
    if match is None:
        return ()
    points = list(by_point(found).values())
    first = getattr(points[0].cell, match.what)
    wrong = []
    for one in points:
        has = getattr(one.cell, match.what)
        if has is None or first is None or abs(has - first) > match.within * first:
            wrong.append(
                Mismatch(
                    point=one.cell.point,
                    what=match.what,
                    has=has,
                    wanted=first,
                    within=match.within,
                    tokens=one.cell.tokens,
                )
            )
    return tuple(wrong)


def refuse(file: SweepFile, wrong: Sequence[Mismatch]) -> None:
    """Raise what ``mismatches`` found.

    Raises:
        RecipeError: there are any.
    """
    if wrong:
        match = file.table.match
        assert match is not None
        hint = (
            "write more steps, or a larger `within`: stages are rounded to whole steps"
            if match.set
            else "set = true in [match] makes the stages of every cell as long as it takes"
        )
        raise RecipeError(
            [file.fault(("match", "what"), f"cells differ: {one}", hint) for one in wrong]
        )


def changes_to_match(
    file: SweepFile, cells: Sequence[CellRecipe], found: Sequence[CellCost]
) -> Mapping[str, tuple[str, ...]]:
    """By id, what makes the stages of each cell as long as it takes to match the first one.

    Raises:
        RecipeError: a stage's length is not known.
    """
    match = file.table.match
    if match is None or not match.set:
        return {}
    first = getattr(found[0].cell, match.what)
    changes: dict[str, tuple[str, ...]] = {}
    faults: list[Fault] = []
    for cell, cost in zip(cells, found, strict=True):
        has = getattr(cost.cell, match.what)
        try:
            factor = first / has if has and first else 1.0
            if abs(factor - 1) > match.within or not has:
                changes[cell.id] = lengths(cell.recipe.stages, factor)
        except ValueError as error:
            faults.append(file.fault(("match", "set"), f"cell {cell.id}: {error}"))
    if faults:
        raise RecipeError(faults)
    return changes
