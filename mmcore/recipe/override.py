"""Change a recipe from the command line: ``--set stages.sft.optimizer.lr=2e-5``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from mmcore.recipe.errors import Fault
from mmcore.recipe.merge import give_way
from mmcore.recipe.tree import KeyPath, Node, Place, grow, name_of, place_of, spell
from mmcore_registry import nearest

_ASSIGNMENT = re.compile(r'((?:"[^"]*"|[^"=])+)=(.*)', re.DOTALL)
_STEP = re.compile(r'"([^"]*)"|([^."]+)')
_EVERY = "*"


class _NotFound(Exception):
    """There is nothing at a step of the path; the message says what is there."""


def override(root: Node, assignments: Iterable[str]) -> list[Fault]:
    """Change the tree in place by ``key.path=value`` texts; returns what could not be done.

    Elements of arrays are called by their ``name``, by index, or all together by ``*``. The value
    is read as TOML; a bare word that is no TOML is a string. A ``use`` is set before other keys,
    which are the new component's then, in whatever order they are given.
    """
    faults = []
    read = []
    for text in assignments:
        try:
            read.append((text, *_read(text)))
        except ValueError as error:
            faults.append(Fault(f"--set {text}", 0, "", str(error)))
    for text, steps, value in sorted(read, key=lambda one: one[1][-1] != "use"):
        try:
            _assign(root, steps, value, Place(f"--set {text}"))
        except _NotFound as error:
            faults.append(Fault(f"--set {text}", 0, "", str(error)))
    return faults


def _read(text: str) -> tuple[list[str], object]:
    """Steps and value of an assignment."""
    match = _ASSIGNMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError("wanted key.path=value, such as stages.sft.optimizer.lr=2e-5")
    path, value = match.group(1).strip(), match.group(2).strip()
    steps = [quoted or bare.strip() for quoted, bare in _STEP.findall(path)]
    if not all(steps) or path.startswith(".") or path.endswith(".") or ".." in path:
        raise ValueError(f"{path!r} is no key path: a word is missing")
    return steps, _value(value)


def _value(text: str) -> object:
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if not text or text[0] in "\"'[{":
            raise ValueError(f"the value {text!r} is no valid TOML: {error}") from None
        return text
    return table["value"] if len(table) == 1 else text


def _assign(root: Node, steps: list[str], value: object, place: Place) -> None:
    targets: list[KeyPath] = [()]
    for step in steps[:-1]:
        targets = [below for path in targets for below in _enter(root, path, step, place)]
    for path in targets:
        holder, last = _at(root, path), steps[-1]
        if isinstance(holder.value, dict):
            _assert_no_star(root, path, last)
            node = grow(value, place, {})
            table = give_way(holder.value, {last: node}, path)
            table[last] = node
            holder.value.clear()
            holder.value.update(table)
        elif isinstance(holder.value, list):
            for index in _elements(root, path, last):
                holder.value[index] = grow(value, place, {})
        else:
            raise _NotFound(_no_table(root, path))


def _enter(root: Node, path: KeyPath, step: str, place: Place) -> list[KeyPath]:
    """The paths that ``step`` leads to; a table that is not there yet is made."""
    node = _at(root, path)
    if isinstance(node.value, list):
        return [(*path, index) for index in _elements(root, path, step)]
    if not isinstance(node.value, dict):
        raise _NotFound(_no_table(root, path))
    _assert_no_star(root, path, step)
    node.value.setdefault(step, Node({}, place))
    return [(*path, step)]


def _elements(root: Node, path: KeyPath, step: str) -> list[int]:
    """The indexes of the array at ``path`` that ``step`` means."""
    array = _at(root, path).value
    assert isinstance(array, list)
    names = [name_of(element) for element in array]
    if step == _EVERY:
        return list(range(len(array)))
    if step in names:
        return [index for index, name in enumerate(names) if name == step]
    if step.isdecimal() and int(step) < len(array):
        return [int(step)]
    known = [name for name in names if name is not None]
    close = nearest(step, known)
    hint = f"; did you mean {close!r}?" if close else ""
    there = ", ".join(known) or (f"0 to {len(array) - 1}" if array else "none, it is empty")
    raise _NotFound(f"{spell(root, path)} has no {step!r}{hint} (there are: {there})")


def _assert_no_star(root: Node, path: KeyPath, step: str) -> None:
    if step == _EVERY:
        where = spell(root, path) or "the recipe"
        raise _NotFound(f"'*' stands for the elements of an array, and {where} is a table")


def _no_table(root: Node, path: KeyPath) -> str:
    place = place_of(root, path)
    return f"{spell(root, path)} is a plain value ({place.file}), and holds no keys"


def _at(root: Node, path: KeyPath) -> Node:
    node: Node | None = root
    for step in path:
        node = node.child(step) if node else None
    assert node is not None
    return node
