"""From a tree of plain values to a recipe of specs, strictly: nothing is coerced, all is known."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
from cattrs import Converter

from mmcore.recipe.errors import Fault
from mmcore.recipe.schema import TrainablePart
from mmcore.recipe.tree import KeyPath, Node, spell
from mmcore.recipe.validate import explain, invalid_keys
from mmcore.recipe.wording import (
    found,
    is_array,
    is_literal,
    is_mapping,
    is_spec,
    is_union,
    members,
    wanted,
)
from mmcore_registry import Registry, RegistryError, Spec, nearest


class _Unusable(Exception):
    """A value cannot be used; its fault is noted already."""


@attrs.frozen(kw_only=True)
class Structured:
    """What became of a tree.

    Attributes:
        values: everything that could be read, by key path: scalars, records, specs, and the
            record of the whole at the empty path.
        faults: everything that could not.
    """

    values: dict[KeyPath, object]
    faults: list[Fault]


def structure(root: Node, cls: type, registry: Registry) -> Structured:
    """Read ``root`` as a record of class ``cls``.

    A field typed as a Spec subclass holds whatever component of that kind the table's ``use``
    names in the registry; its other keys are that component's fields.
    """
    reader = _Reader(root, registry)
    try:
        reader.read(root, cls)
    except _Unusable:
        assert reader.faults
    return Structured(values=reader.values, faults=reader.faults)


class _Reader:
    def __init__(self, root: Node, registry: Registry) -> None:
        self.faults: list[Fault] = []
        self.values: dict[KeyPath, object] = {}
        self._root, self._registry = root, registry
        self._paths = {node: path for path, node in root.walk()}
        self._converter = self._strict_converter()

    def _strict_converter(self) -> Converter:
        """A converter whose hooks take nodes; what was registered last is asked first."""
        converter = Converter()
        hooks: list[tuple[Callable[[Any], bool], Callable[[Node, Any], object]]] = [
            (lambda _: True, self._unsupported),
            (lambda kind: kind is object, self._anything),
            (attrs.has, self._table),
            (lambda kind: kind is TrainablePart, self._trainable_part),
            (is_spec, self._spec),
            (is_mapping, self._mapping),
            (is_array, self._array),
            (is_literal, self._literal),
            (is_union, self._union),
        ]
        for predicate, hook in hooks:
            converter.register_structure_hook_func(predicate, hook)
        for scalar in (int, float, str, bool, Path):
            converter.register_structure_hook(scalar, self._scalar)
        return converter

    def read(self, node: Node, kind: Any) -> object:
        value = self._converter.structure(node, kind)
        self.values[self._paths[node]] = value
        return value

    def _fault(self, node: Node, message: str, hint: str = "", below: str = "") -> _Unusable:
        path = self._paths[node] + ((below,) if below else ())
        place = node.place
        self.faults.append(Fault(place.file, place.line, spell(self._root, path), message, hint))
        return _Unusable(message)

    def _wrong_type(self, node: Node, kind: object, hint: str = "") -> _Unusable:
        return self._fault(node, f"is {found(node)}, wanted {wanted(kind)}", hint)

    def _unsupported(self, node: Node, kind: object) -> object:
        path = spell(self._root, self._paths[node])
        raise TypeError(f"{path}: a recipe cannot hold the declared type {kind!r}")

    def _anything(self, node: Node, kind: object) -> object:
        """A value that somebody else's library will judge, tables and arrays to any depth."""
        if isinstance(node.value, dict):
            return self._mapping(node, dict[str, object])
        if isinstance(node.value, list):
            return self._array(node, list[object])
        return node.value

    def _scalar(self, node: Node, kind: Any) -> object:
        value = node.value
        if type(value) is kind:
            return value
        if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
            return float(value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        hint = ""
        if kind is int and isinstance(value, float) and value.is_integer():
            hint = f"write {int(value)}"
        elif isinstance(value, str) and kind is not str:
            hint = "no quotation marks" if value.strip() else ""
        elif kind is str and not isinstance(value, dict | list):
            hint = f'write "{found(node)}"'
        raise self._wrong_type(node, kind, hint)

    def _literal(self, node: Node, kind: object) -> object:
        options = get_args(kind)
        for option in options:
            if type(option) is type(node.value) and option == node.value:
                return option
        close = nearest(str(node.value), [str(option) for option in options])
        raise self._wrong_type(node, kind, f"did you mean {close!r}?" if close else "")

    def _union(self, node: Node, kind: object) -> object:
        """The first member that fits. If none does, the faults of the one that came closest."""
        options = members(kind)
        if len(options) == 1:
            return self.read(node, options[0])
        before = list(self.faults)
        inside: list[Fault] = []
        for option in options:
            try:
                return self.read(node, option)
            except _Unusable:
                own = spell(self._root, self._paths[node])
                noted = self.faults[len(before) :]
                inside = inside or [fault for fault in noted if fault.key != own]
                self.faults[:] = before
        if inside:
            self.faults.extend(inside)
            raise _Unusable
        raise self._wrong_type(node, kind)

    def _array(self, node: Node, kind: object) -> object:
        if not isinstance(node.value, list):
            raise self._wrong_type(node, kind)
        types = list(get_args(kind))
        if types[-1] is Ellipsis or get_origin(kind) is not tuple:
            types = [types[0]] * len(node.value)
        if len(types) != len(node.value):
            raise self._fault(node, f"has length {len(node.value)}, wanted {wanted(kind)}")
        read = self._read_all(list(zip(node.value, types, strict=True)))
        return list(read) if get_origin(kind) is list else tuple(read)

    def _mapping(self, node: Node, kind: object) -> object:
        if not isinstance(node.value, dict):
            raise self._wrong_type(node, kind)
        _, inner = get_args(kind)
        read = self._read_all([(below, inner) for below in node.value.values()])
        return dict(zip(node.value, read, strict=True))

    def _read_all(self, pairs: list[tuple[Node, Any]]) -> list[object]:
        """Read all before giving up, so that every fault is noted."""
        read = []
        for node, kind in pairs:
            try:
                read.append(self.read(node, kind))
            except _Unusable:
                continue
        if len(read) < len(pairs):
            raise _Unusable
        return read

    def _trainable_part(self, node: Node, kind: type[TrainablePart]) -> object:
        if isinstance(node.value, str):
            return TrainablePart(part=node.value)
        if not isinstance(node.value, dict):
            raise self._fault(
                node, f"is {found(node)}, wanted the name of a part, or {{ part = ..., lr = ... }}"
            )
        return self._table(node, kind)

    def _spec(self, node: Node, base: type[Spec]) -> object:
        if not isinstance(node.value, dict):
            raise self._wrong_type(node, base)
        use = node.value.get("use")
        if use is None:
            known = ", ".join(self._registry.names(base.kind)) or "none is installed"
            raise self._fault(node, f"no `use`, wanted {wanted(base)} (known: {known})")
        name = str(self.read(use, str))
        try:
            spec = self._registry.get(base.kind, name)
        except RegistryError as error:
            raise self._fault(use, str(error)) from None
        if not issubclass(spec, base):
            label = f"{base.__module__}.{base.__qualname__}"
            raise self._fault(use, f"{name!r} is no {label}, which is wanted here")
        left_over = set(attrs.fields_dict(base))
        keys = {
            key: below
            for key, below in node.value.items()
            if key != "use" and (not below.left_over or key in left_over)
        }
        return self._record(node, keys, spec)

    def _table(self, node: Node, cls: type[attrs.AttrsInstance]) -> object:
        if not isinstance(node.value, dict):
            raise self._wrong_type(node, cls)
        return self._record(node, node.value, cls)

    def _record(self, node: Node, keys: dict[str, Node], cls: type[attrs.AttrsInstance]) -> object:
        """A record of ``cls``; an unknown key is noted, and does not keep it from being made."""
        fields = {field.name: field for field in attrs.fields(attrs.resolve_types(cls))}
        values: dict[str, object] = {}
        usable = True
        for key, below in keys.items():
            if key not in fields:
                close = nearest(key, fields)
                known = ", ".join(fields) or "none"
                hint = f"did you mean {close!r}?" if close else f"the keys here are: {known}"
                self._fault(below, "no such key", hint)
                continue
            try:
                values[key] = self.read(below, fields[key].type)
            except _Unusable:
                usable = False
        for key, message in invalid_keys(cls, values):
            self._fault(keys[key], message)
            usable = False
        for key, field in fields.items():
            if field.default is attrs.NOTHING and key not in keys:
                meaning = str(field.metadata.get("doc", ""))
                self._fault(node, f"missing, wanted {wanted(field.type)}", meaning, below=key)
                usable = False
        if not usable:
            raise _Unusable
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise self._fault(node, explain(error)) from None
