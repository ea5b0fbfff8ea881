"""Make the folder of a sweep ready, or see that what lies in it is of the same sweep."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import attrs
import tomli_w

from mmcore.kit.json_lines import keep
from mmcore.recipe import RecipeError, load_recipe, to_toml
from mmcore.recipe.write import to_plain
from mmcore.run_folder.folder import RECIPE, differences, write_whole
from mmcore.sweeps.folder import (
    CELLS,
    OUTCOMES,
    RECIPES,
    SWEEP,
    SweepFolder,
    SweepFolderError,
    cells_text,
    is_sweep,
    read,
)
from mmcore.sweeps.load import SweepFile
from mmcore.sweeps.prepared import Prepared
from mmcore.sweeps.schema import without_empty

SHOWN = 20
"""Differences that are listed at most."""


def enter(folder: Path, prepared: Prepared, threads: int) -> SweepFolder:
    """Write down what is to be run; the folder must be locked.

    Cells that have begun stay what they are; others may come, go and change.

    Args:
        threads: of every cell; a sweep that has begun keeps its own.

    Raises:
        SweepFolderError: cells that have begun are others in the sweep's file by now; says which
            and what differs.
    """
    if is_sweep(folder):
        before = read(folder)
        threads = before.sweep.threads or threads
        wrong = list(_changed(before, prepared))
        if wrong:
            raise SweepFolderError(_refused(folder, wrong))
    (folder / RECIPES).mkdir(parents=True, exist_ok=True)
    for cell in prepared.cells:
        write_whole(recipe_path(folder, cell.id), cell.text)
    write_whole(folder / SWEEP, resolved(prepared.file, folder))
    keep(folder / OUTCOMES)
    sweep = attrs.evolve(prepared.sweep, threads=threads)
    write_whole(folder / CELLS, cells_text(sweep))
    return read(folder)


def recipe_path(folder: Path, cell: str) -> Path:
    return folder / RECIPES / f"{cell}.toml"


def resolved(file: SweepFile, folder: Path) -> str:
    """The sweep's file with everything that the command line changed; it runs as it is."""
    recipe = os.path.relpath(file.recipe, folder)
    plain = to_plain(attrs.evolve(file.table, recipe=recipe, scales={}))
    return tomli_w.dumps(without_empty(plain))


def begun(folder: SweepFolder, cell: str) -> bool:
    """Whether anything was made of this cell that another recipe would spoil."""
    return (folder.run(cell) / RECIPE).exists()


def _changed(before: SweepFolder, prepared: Prepared) -> Iterator[str]:
    now = {cell.id: cell for cell in prepared.cells}
    for cell in before.sweep.cells:
        if not begun(before, cell.id):
            continue
        if cell.id not in now:
            yield f"{cell.id} has begun, and the sweep has no such cell any more"
            continue
        old = _stored(recipe_path(before.folder, cell.id))
        for one in differences(old, tomllib.loads(now[cell.id].text)):
            yield f"{cell.id}: {one}"


def _stored(path: Path) -> dict[str, object]:
    """A recipe as it was written, with defaults for keys that there were none of then."""
    try:
        return tomllib.loads(to_toml(load_recipe(path)))
    except RecipeError:
        pass
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SweepFolderError(f"{path} cannot be read: {error}") from None


def _refused(folder: Path, wrong: list[str]) -> str:
    more = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    listing = "\n".join(f"  {one}" for one in [*wrong[:SHOWN], *more])
    return (
        f"{folder} has cells that the sweep's file has no more, or has otherwise:\n{listing}\n"
        "points and seeds may be added, and what has not begun may change; some of the cells are "
        "run with --only; give this sweep another name with --set name=..., or remove the "
        "folders of those cells"
    )
