"""Ask the validators of a record key by key, so that one bad value does not hide the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs


def invalid_keys(cls: type, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Key and message of every value that its own validator refuses.

    attrs stops at the first validator that fails, and runs none when a mandatory key is missing.
    Here each is asked about the values that there are; one that looks at a key without a value
    is left to the record's construction.

    Args:
        cls: an attrs class with resolved types.
        values: the values that are known, by key.
    """
    partial: object = object.__new__(cls)
    for field in attrs.fields(cls):
        try:
            value = values[field.name] if field.name in values else _default(field, partial)
        except AttributeError:  # the default is made from a key that has no value
            continue
        object.__setattr__(partial, field.name, value)
    for field in attrs.fields(cls):
        if field.name not in values or field.validator is None or field.converter is not None:
            continue
        try:
            field.validator(partial, field, values[field.name])
        except (ValueError, TypeError) as error:
            yield field.name, explain(error)
        except AttributeError:
            continue


def _default(field: attrs.Attribute[object], partial: object) -> object:
    default: Any = field.default
    if default is attrs.NOTHING:
        raise AttributeError(field.name)
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # its stub is a function
        return default.factory(partial) if default.takes_self else default.factory()
    return default


def explain(error: Exception) -> str:
    """The sentence in an error; attrs' own carry the attribute and the value behind it."""
    return str(error.args[0]) if error.args else type(error).__name__
