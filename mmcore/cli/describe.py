"""What a component's or a recipe table's keys mean, as text."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any, TypeGuard

import attrs

from mmcore.cli.compression import complete, tiles_of_encoders
from mmcore.cli.layout import definitions, heading
from mmcore.interfaces import Lora, TokenSamplerSpec
from mmcore.recipe.guard_table import GuardTable
from mmcore.recipe.schema import (
    BatchTable,
    CheckpointTable,
    DataTable,
    EarlyStopTable,
    ModelTable,
    Recipe,
    Stage,
    TrainablePart,
)
from mmcore.recipe.wording import is_spec, members, short
from mmcore_registry import Component, VariantPreset

_TABLES: dict[str, type[attrs.AttrsInstance]] = {
    "the recipe": Recipe,
    "[model]": ModelTable,
    "[data]": DataTable,
    "[[stages]]": Stage,
    "an element of train in [[stages]]": TrainablePart,
    "lora of an element of train": Lora,
    "batch of [[stages]]": BatchTable,
    "early_stop of [[stages]]": EarlyStopTable,
    "[checkpoints]": CheckpointTable,
    "[guards]": GuardTable,
}


def describe_component(component: Component) -> str:
    """Kind, name, owner, docstring, keys and variants of a component."""
    spec = component.spec
    title = f"{heading(f'{component.kind} {component.name}')} (of {component.distribution})"
    blocks = [title, inspect.getdoc(spec) or ""]
    rows = list(_keys(spec))
    if rows:
        blocks.append(f"{heading('keys')}\n{definitions(rows)}")
    variants = list(_variants(spec))
    if variants:
        blocks.append(f"{heading('variants')}\n{definitions(variants)}")
    if issubclass(spec, TokenSamplerSpec) and complete(spec):
        tiles = definitions(list(tiles_of_encoders(spec())))
        blocks.append(f"{heading('tiles, with the defaults above')}\n{tiles}")
    return "\n\n".join(blocks)


def describe_schema() -> str:
    """Every table of a recipe that is mmcore's own, with its keys."""
    blocks = [
        f"{heading(title)}: {inspect.getdoc(table)}\n{definitions(list(_keys(table)))}"
        for title, table in _TABLES.items()
    ]
    return "\n\n".join(blocks)


def _keys(cls: type[attrs.AttrsInstance], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each key as it is written, with its meaning; tables of a component are opened."""
    for field in attrs.fields(attrs.resolve_types(cls)):
        unit = field.metadata.get("unit")
        meaning = str(field.metadata.get("doc", ""))
        term = f"{prefix}{field.name}: {short(field.type)}{_default(field)}"
        yield term, f"{meaning} ({unit})" if unit else meaning
        for member in members(field.type):
            if _is_table(member) and member not in _TABLES.values():
                yield from _keys(member, f"{prefix}{field.name}.")


def _is_table(kind: object) -> TypeGuard[type[attrs.AttrsInstance]]:
    return inspect.isclass(kind) and attrs.has(kind) and not is_spec(kind)


def _default(field: attrs.Attribute[object]) -> str:
    """The default as it would be written; nothing where the key must be given."""
    default: Any = field.default
    if default is attrs.NOTHING:
        return ""
    if default is None:
        return " = none"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # its stub is a function
        return _made_default(default)
    return f" = {_literal(default)}"


def _made_default(factory: Any) -> str:
    if isinstance(factory.factory, VariantPreset):
        return " = of the variant"
    if factory.takes_self:
        return " = from other keys"
    made = factory.factory()
    return " = {}" if attrs.has(type(made)) else f" = {_literal(made)}"


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, float) else json.dumps(value, default=str)


def _variants(cls: type[attrs.AttrsInstance]) -> Iterator[tuple[str, str]]:
    """Name of each variant, and the keys that it presets."""
    presets: dict[str, list[str]] = {}
    for field in attrs.fields(cls):
        factory = getattr(field.default, "factory", None)
        if isinstance(factory, VariantPreset):
            for name, preset in factory.presets.items():
                value = getattr(preset, factory.attribute)
                presets.setdefault(name, []).append(f"{field.name} = {_literal(value)}")
    for name, values in presets.items():
        yield name, ", ".join(values)
