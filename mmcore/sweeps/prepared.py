"""A sweep that is ready: file, cells and costs, all checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import attrs

from mmcore.sweeps.cells import axes
from mmcore.sweeps.costs import CellCost, Machine, costs
from mmcore.sweeps.folder import Sweep
from mmcore.sweeps.load import SweepFile, load_sweep
from mmcore.sweeps.matching import Mismatch, changes_to_match, mismatches, refuse
from mmcore.sweeps.recipes import CellRecipe, load_cells


@attrs.frozen(kw_only=True)
class Prepared:
    """What a sweep will do.

    Attributes:
        file: as it was read.
        cells: in order, with their recipes.
        costs: of every cell, in the same order.
        wrong: points that do not match the first, where the file asks that they do.
    """

    file: SweepFile
    cells: tuple[CellRecipe, ...]
    costs: tuple[CellCost, ...]
    wrong: tuple[Mismatch, ...]

    @property
    def sweep(self) -> Sweep:
        """As the folder of the sweep says it."""
        table = self.file.table
        return Sweep(
            name=table.name,
            axes=axes(table),
            seeds=table.seeds,
            measures=table.scores,
            cells=tuple(one.cell for one in self.costs),
        )

    def check_match(self) -> None:
        """Raises RecipeError where cells differ in what must be equal."""
        refuse(self.file, self.wrong)


def prepare(
    path: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    recipe: str | os.PathLike[str] | None = None,
    scale: str | None = None,
    machine: Machine | None = None,
    runs_here: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Read, check and plan the sweep at ``path``; see ``load_sweep``.

    Args:
        machine: what the hours are said for.
        runs_here: whether this machine must be able to run every cell.
        told: is told which cell is being planned.

    Raises:
        RecipeError: with everything that is wrong with the file, or with recipes of its cells.
        ValueError: the machine is not known.
    """
    file = load_sweep(path, overrides, recipe=recipe, scale=scale)
    cells = load_cells(file, machine=runs_here)
    found = costs(cells, machine, told)
    more = changes_to_match(file, cells, found)
    if more:
        cells = load_cells(file, machine=runs_here, more=more)
        found = costs(cells, machine, told)
    return Prepared(file=file, cells=cells, costs=found, wrong=mismatches(file, found))
