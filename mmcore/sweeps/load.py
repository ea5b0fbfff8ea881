"""Read the file of a sweep, changed by a scale and the command line, and check it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs

from mmcore.recipe import Fault, RecipeError
from mmcore.recipe.inherit import read_toml
from mmcore.recipe.override import override
from mmcore.recipe.structure import structure
from mmcore.recipe.tree import KeyPath, Node, Place, place_of, spell
from mmcore.sweeps.cells import points
from mmcore.sweeps.schema import SweepTable
from mmcore_registry import discover, nearest

OWN = tuple(attrs.fields_dict(SweepTable))
"""First words of the keys that are the sweep's own; all others are the recipe's."""

_SET = "--set "


@attrs.frozen
class SweepFile:
    """A sweep's file, read and checked.

    Attributes:
        table: what it says.
        recipe: path of the recipe, as seen from the working folder.
        root: its tree, which knows the lines.
        scaled: where the changes of the scale are written, by what they are called in messages.
    """

    table: SweepTable
    recipe: Path
    root: Node
    scaled: Mapping[str, Place]

    def place(self, path: KeyPath) -> Place:
        """Where this key of the file is written; the change's own words for one by ``--set``."""
        return _written(place_of(self.root, path), self.scaled)

    def fault(self, path: KeyPath, message: str, hint: str = "") -> Fault:
        """A fault of this key of the file."""
        place = self.place(path)
        return Fault(place.file, place.line, spell(self.root, path), message, hint)


def load_sweep(
    path: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    recipe: str | os.PathLike[str] | None = None,
    scale: str | None = None,
) -> SweepFile:
    """The file at ``path``; the recipes of its cells are not read.

    Args:
        overrides: KEY=VALUE texts; of a key of the sweep (``axes.queries.values=[64]``), or else
            of the recipe of every cell, above the axes.
        recipe: another recipe than the file's, from the working folder.
        scale: apply the changes that the file has under this word; the sweep is then called
            NAME-SCALE.

    Raises:
        RecipeError: everything that is wrong with the file, each with its line.
    """
    root = read_toml(Path(path))
    assert isinstance(root.value, dict)
    faults: list[Fault] = []
    scaled: dict[str, Place] = {}
    if scale is not None:
        found = _scale(root, scale, Path(path), faults)
        scaled = {f"{_SET}{text}": place for text, place in found.items()}
        faults += _apply(root, found, scaled)
        name = root.value.get("name")
        if name is not None and isinstance(name.value, str):
            root.value["name"] = Node(f"{name.value}-{scale}", name.place)
    texts = list(overrides) + ([] if recipe is None else [f"recipe='{os.fspath(recipe)}'"])
    faults += _apply(root, {text: Place(f"{_SET}{text}") for text in texts}, {})
    structured = structure(root, SweepTable, discover())
    faults += structured.faults
    table = structured.values.get(())
    if not isinstance(table, SweepTable):
        raise RecipeError(_located(faults, scaled))
    file = SweepFile(table, _recipe_path(root, scaled, table), root, scaled)
    faults += [*_twice(file), *_no_recipe(file)]
    if faults:
        raise RecipeError(_located(faults, scaled))
    return file


def _scale(root: Node, scale: str, path: Path, faults: list[Fault]) -> dict[str, Place]:
    """The changes under this word, with their lines."""
    table = root.child("scales")
    words = list(table.value) if table is not None and isinstance(table.value, dict) else []
    if table is None or scale not in words:
        close = nearest(scale, words)
        hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(words) or 'none'}"
        place = table.place if table is not None else Place(str(path))
        faults.append(Fault(place.file, place.line, "scales", f"has no {scale!r}", hint))
        return {}
    node = table.child(scale)
    assert node is not None
    listed = node.value if isinstance(node.value, list) else []  # else `structure` complains
    return {one.value: one.place for one in listed if isinstance(one.value, str)}


def _apply(
    root: Node, changes: Mapping[str, Place], scaled: Mapping[str, Place]
) -> Iterator[Fault]:
    """Make changes of the sweep's own keys in the tree; those of the recipe join ``set_last``."""
    assert isinstance(root.value, dict)
    own = [text for text in changes if first_word(text) in OWN]
    yield from override(root, own)
    last = root.value.setdefault("set_last", Node([], Place(f"{_SET}KEY=VALUE")))
    if isinstance(last.value, list):
        last.value.extend(Node(text, at) for text, at in changes.items() if text not in own)


def first_word(change: str) -> str:
    """Of the key that a KEY=VALUE text changes."""
    return change.split("=", 1)[0].split(".", 1)[0].strip().strip('"')


def _written(place: Place, scaled: Mapping[str, Place]) -> Place:
    return scaled.get(place.file, place)


def _located(faults: Iterable[Fault], scaled: Mapping[str, Place]) -> list[Fault]:
    """The same, those of a scale's changes at the lines where these are written."""
    found = []
    for fault in faults:
        at = scaled.get(fault.file)
        if at is not None:
            said = f"{fault.file.removeprefix(_SET)!r}: {fault.message}"
            fault = attrs.evolve(fault, file=at.file, line=at.line, message=said)
        found.append(fault)
    return found


def _recipe_path(root: Node, scaled: Mapping[str, Place], table: SweepTable) -> Path:
    """Written in a file it is seen from there, else from where the command is given."""
    place = _written(place_of(root, ("recipe",)), scaled)
    if place.file.startswith(_SET):
        return Path(table.recipe)
    return Path(os.path.normpath(Path(place.file).parent / table.recipe))


def _no_recipe(file: SweepFile) -> Iterator[Fault]:
    path = file.recipe
    if path.is_file():
        return
    there = [one.stem for one in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    close = nearest(path.stem, there)
    hint = (
        f"did you mean {str(path.with_name(f'{close}.toml'))!r}?"
        if close
        else "--recipe names one, seen from where you are"
    )
    yield file.fault(("recipe",), f"there is no file {str(path)!r}", hint)


def _twice(file: SweepFile) -> Iterator[Fault]:
    """Points of an axis that are called alike."""
    for number, axis in enumerate(file.table.axes):
        seen: set[str] = set()
        for nth, point in enumerate(points(axis, number)):
            if point.label in seen:
                path: KeyPath = ("axes", number, "points" if axis.points else "values", nth)
                yield file.fault(
                    path,
                    f"axis {axis.name!r} has two points called {point.label!r}",
                    "every point needs a label of its own",
                )
            seen.add(point.label)
