"""A recipe as it was written: values that remember the file and the line they came from."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys of tables and indexes of arrays, from the root."""

Scalar: TypeAlias = str | int | float | bool | datetime.datetime | datetime.date | datetime.time
Table: TypeAlias = "dict[str, Node]"
Array: TypeAlias = "list[Node]"


@attrs.frozen
class Place:
    """A line of a file; line 0 where there are no lines, as in ``--set``."""

    file: str
    line: int = 0


@attrs.frozen(eq=False)
class Node:
    """One value of a recipe.

    Attributes:
        value: a scalar, a table or an array.
        place: where its key (or, in an array, the element) is written.
        left_over: the table's ``use`` was changed by a later file or ``--set``, and this key was
            written for the component named before. It counts only where every component of the
            kind has the key.
    """

    value: Scalar | Table | Array
    place: Place
    left_over: bool = False

    def child(self, step: str | int) -> Node | None:
        """What lies one step below, or None."""
        if isinstance(self.value, dict):
            return self.value.get(str(step))
        if isinstance(self.value, list):
            index = _index(step)
            return self.value[index] if index is not None and index < len(self.value) else None
        return None

    def walk(self, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Node]]:
        """This node and everything below it, with key paths."""
        yield path, self
        if isinstance(self.value, dict):
            for key, node in self.value.items():
                yield from node.walk((*path, key))
        elif isinstance(self.value, list):
            for index, node in enumerate(self.value):
                yield from node.walk((*path, index))


def _index(step: str | int) -> int | None:
    if isinstance(step, int):
        return step
    return int(step) if step.isdecimal() else None


def grow(value: object, place: Place, places: Mapping[KeyPath, Place], path: KeyPath = ()) -> Node:
    """A tree of plain TOML values; what ``places`` does not know is where its parent is."""
    here = places.get(path, place)
    if isinstance(value, dict):
        table = {key: grow(below, here, places, (*path, key)) for key, below in value.items()}
        return Node(table, here)
    if isinstance(value, list):
        array = [grow(below, here, places, (*path, index)) for index, below in enumerate(value)]
        return Node(array, here)
    assert isinstance(value, Scalar), f"no TOML value: {value!r}"
    return Node(value, here)


def place_of(root: Node, path: KeyPath) -> Place:
    """Where ``path`` is written, or the nearest table around it."""
    node = root
    for step in path:
        below = node.child(step)
        if below is None:
            break
        node = below
    return node.place


def name_of(node: Node) -> str | None:
    """The ``name`` of a table, if it has one."""
    name = node.child("name") if isinstance(node.value, dict) else None
    return name.value if name is not None and isinstance(name.value, str) else None


def spell(root: Node, path: KeyPath) -> str:
    """The key path as ``--set`` takes it: ``stages.sft.optimizer.lr``.

    An element of an array is called by its ``name`` where that is unique, else by its index.
    """
    words: list[str] = []
    node: Node | None = root
    for step in path:
        word = str(step)
        below = node.child(step) if node is not None else None
        if node is not None and below is not None and isinstance(node.value, list):
            names = [name_of(element) for element in node.value]
            name = name_of(below)
            word = name if name and names.count(name) == 1 else word
        words.append(word if word and "." not in word else f'"{word}"')
        node = below
    return ".".join(words)
