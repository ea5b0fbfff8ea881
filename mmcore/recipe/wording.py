"""How types and values of a recipe are called in messages and on `mmcore show`."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

from mmcore.recipe.tree import Node
from mmcore_registry import Spec

_SCALARS: dict[object, tuple[str, str]] = {
    int: ("an integer", "int"),
    float: ("a number", "float"),
    str: ("a string", "str"),
    bool: ("true or false", "bool"),
    Path: ("a path", "path"),
}
_UNIONS = (Union, types.UnionType)


def members(kind: object) -> list[object]:
    """The types of a union without None; of any other type, itself."""
    if get_origin(kind) not in _UNIONS:
        return [kind]
    return [member for member in get_args(kind) if member is not type(None)]


def is_union(kind: object) -> bool:
    return get_origin(kind) in _UNIONS


def is_literal(kind: object) -> bool:
    return get_origin(kind) is Literal


def is_array(kind: object) -> bool:
    origin = get_origin(kind)
    return inspect.isclass(origin) and issubclass(origin, Sequence)


def is_mapping(kind: object) -> bool:
    origin = get_origin(kind)
    return inspect.isclass(origin) and issubclass(origin, Mapping)


def is_spec(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Spec)


def wanted(kind: object) -> str:
    """A type in a sentence: "an integer", "an array of strings"."""
    if is_union(kind):
        return " or ".join(wanted(member) for member in members(kind))
    if kind is object:
        return "any value"
    if kind in _SCALARS:
        return _SCALARS[kind][0]
    if is_literal(kind):
        return " or ".join(repr(word) for word in get_args(kind))
    if is_array(kind):
        inner = [one for one in get_args(kind) if one is not Ellipsis]
        if Ellipsis in get_args(kind) or len(inner) == 1:
            return f"an array, each element {wanted(inner[0])}"
        return f"an array of {len(inner)}: " + ", ".join(wanted(one) for one in inner)
    if inspect.isclass(kind) and issubclass(kind, Spec):
        return f"a table whose `use` names a component of kind {kind.kind}"
    return "a table"


def short(kind: object) -> str:
    """A type in a column: "int", "str | none", "'cosine' | 'linear'", "source[]"."""
    if is_union(kind):
        return " | ".join(short(member) for member in members(kind))
    if kind in _SCALARS:
        return _SCALARS[kind][1]
    if is_literal(kind):
        return " | ".join(repr(word) for word in get_args(kind))
    if is_array(kind):
        inner = [one for one in get_args(kind) if one is not Ellipsis]
        if Ellipsis in get_args(kind) or len(inner) == 1:
            return f"{short(inner[0])}[]"
        return f"[{', '.join(short(one) for one in inner)}]"
    if inspect.isclass(kind) and issubclass(kind, Spec):
        return str(kind.kind)
    return "table"


def found(node: Node) -> str:
    """A value in a sentence, as it is written in TOML."""
    match node.value:
        case bool():
            return "true" if node.value else "false"
        case str():
            return f'"{node.value}"'
        case dict():
            return "a table"
        case list():
            return "an array"
        case _:
            return str(node.value)
