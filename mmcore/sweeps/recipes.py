"""The recipes of all cells, checked before anything runs; every fault says which cells it is of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from mmcore.recipe import Fault, Recipe, RecipeError, load_recipe, to_toml
from mmcore.recipe.tree import KeyPath
from mmcore.sweeps.cells import Combination, combinations
from mmcore.sweeps.load import SweepFile

_SET = "--set "


@attrs.frozen
class CellRecipe:
    """A cell with its recipe, complete and checked."""

    combination: Combination
    recipe: Recipe

    @property
    def id(self) -> str:
        return self.combination.id

    @property
    def text(self) -> str:
        """The recipe in TOML, which runs as it is."""
        return to_toml(self.recipe)


def load_cells(
    file: SweepFile,
    *,
    machine: bool = False,
    more: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[CellRecipe, ...]:
    """Every cell of the sweep with its recipe, in the order of the file.

    Args:
        file: of the sweep.
        machine: whether this machine must be able to run them; see ``load_recipe``.
        more: changes by the cell's id, above all others: what makes cells match.

    Raises:
        RecipeError: some cell's recipe is wrong, two cells are the same; with every fault.
    """
    cells: list[CellRecipe] = []
    found: dict[Fault, list[str]] = {}
    advice = ""
    every = [_with(one, (more or {}).get(one.id, ())) for one in combinations(file.table)]
    for combination in every:
        try:
            recipe = load_recipe(file.recipe, combination.overrides, machine=machine)
        except RecipeError as error:
            advice = error.advice
            for fault in error.faults:
                found.setdefault(_located(fault, combination, file), []).append(combination.id)
        else:
            cells.append(CellRecipe(combination, recipe))
    faults = [_of_cells(fault, ids, len(every)) for fault, ids in found.items()]
    faults += _same_recipes(cells, file)
    if faults:
        raise RecipeError(faults, advice)
    return tuple(cells)


def _with(combination: Combination, changes: Sequence[str]) -> Combination:
    added = tuple((text, ("match", "set")) for text in changes)
    return attrs.evolve(combination, changes=(*combination.changes, *added))


def _located(fault: Fault, combination: Combination, file: SweepFile) -> Fault:
    """The fault where the change that made it is written, if one did."""
    written: Mapping[str, KeyPath] = dict(combination.changes)
    text = fault.file.removeprefix(_SET)
    if text == fault.file or text not in written:
        return fault
    if file.place(written[text]).file == fault.file:
        return fault  # given on the command line, which says itself what was written
    key = f"{fault.key}: " if fault.key else ""
    return file.fault(written[text], f"{text!r}: {key}{fault.message}", fault.hint)


def _of_cells(fault: Fault, ids: Sequence[str], cells: int) -> Fault:
    """The fault with the cells that have it in its message; in all of them it is the recipe's."""
    if len(ids) == cells:
        return fault
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return attrs.evolve(fault, message=f"{fault.message} (cell {ids[0]}{more})")


def _same_recipes(cells: Sequence[CellRecipe], file: SweepFile) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for cell in cells:
        text = cell.text
        if text in seen:
            yield file.fault(
                ("axes",),
                f"cells {seen[text]} and {cell.id} are one and the same recipe",
                "nothing that is set in one differs from the other; is the key set again, by "
                "set_last or --set?",
            )
        seen.setdefault(text, cell.id)
