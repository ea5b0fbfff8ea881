"""Values of Arrow's columns with strings undecoded, so that a malformed one spoils one row only."""

from __future__ import annotations

import pyarrow as pa


def plain_values(column: pa.Array | pa.ChunkedArray) -> list[object]:
    """A column's values; strings as their bytes, also in lists and structs."""
    plain = without_strings(column.type)
    return list((column if plain == column.type else column.cast(plain)).to_pylist())


def without_strings(kind: pa.DataType) -> pa.DataType:
    """The same type with binary for strings."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return without_strings(kind.value_type)
    if pa.types.is_list(kind):
        return pa.list_(without_strings(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(without_strings(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(without_strings(field.type)) for field in kind])
    return kind


def holds_strings(kind: pa.DataType) -> bool:
    """Whether a column's values are strings, alone or in lists."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return holds_strings(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
