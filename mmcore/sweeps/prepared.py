"""A sweep that is ready: file, cells and costs, all checked."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from mmcore.sweeps.cells import axes
from mmcore.sweeps.costs import CellCost, Machine, costs
from mmcore.sweeps.folder import Sweep
from mmcore.sweeps.load import SweepFile
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
    file: SweepFile,
    cells: tuple[CellRecipe, ...],
    *,
    machine: Machine | None = None,
    runs_here: bool = False,
    told: Callable[[str], None] = lambda _: None,
) -> Prepared:
    """Plan the cells of a sweep, and make them match where the file asks for it.

    Args:
        file: of the sweep.
        cells: what ``load_cells`` made of it.
        machine: what the hours are said for.
        runs_here: whether this machine must be able to run every cell.
        told: is told which cell is being planned.

    Raises:
        RecipeError: cells cannot be made to match.
        ValueError: the machine is not known.
    """
    found = costs(cells, machine, told)
    more = changes_to_match(file, cells, found)
    if more:
        cells = load_cells(file, machine=runs_here, more=more)
        found = costs(cells, machine, told)
    return Prepared(file=file, cells=cells, costs=found, wrong=mismatches(file, found))
