"""Write a recipe out in full: every default filled in, and the text runs as it is."""

from __future__ import annotations

from pathlib import Path

import attrs
import tomli_w
from cattrs import Converter

from mmcore.recipe.schema import Recipe, TrainablePart
from mmcore_registry import Registry, Spec, discover


def to_toml(recipe: Recipe, *, registry: Registry | None = None) -> str:
    """The recipe as TOML text, which ``load_recipe`` reads back to an equal recipe.

    Args:
        recipe: any recipe.
        registry: where components get their ``use`` words; the installed plugins by default.

    Raises:
        ValueError: a key without a value cannot be written, since TOML has no null and its
            default is something else.
    """
    return tomli_w.dumps(to_plain(recipe, registry=registry))


def to_plain(record: object, *, registry: Registry | None = None) -> dict[str, object]:
    """A recipe, one of its tables or a spec as plain TOML values."""
    known = discover() if registry is None else registry
    converter = Converter()

    def table(value: attrs.AttrsInstance) -> dict[str, object]:
        written: dict[str, object] = {}
        if isinstance(value, Spec):
            written["use"] = known.use(type(value))
        for field in attrs.fields(type(value)):
            held = getattr(value, field.name)
            if held is not None:
                written[field.name] = converter.unstructure(held)
            elif field.default is not None:
                label = f"{type(value).__name__}.{field.name}"
                raise ValueError(f"{label} is None, which a recipe cannot say")
        return written

    def trainable_part(value: TrainablePart) -> object:
        return value.part if value == TrainablePart(part=value.part) else table(value)

    converter.register_unstructure_hook_func(attrs.has, table)
    converter.register_unstructure_hook(TrainablePart, trainable_part)
    converter.register_unstructure_hook(Path, str)
    plain: dict[str, object] = converter.unstructure(record)
    return plain
