"""The made-up rows of sources that have a `synthetic` table, written before anybody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from mmcore.interfaces import SourceSpec


def make_up(node: object, say: Callable[[str], None] = lambda _: None) -> None:
    """Write the made-up rows of every source in ``node`` that has a ``synthetic`` table.

    What was made up before is left as it is.

    Args:
        node: a recipe, or a part of one, such as a stage.
        say: told, before rows are written, how many and where.

    Raises:
        ValueError: the folder holds something else.
    """
    for spec in sources_in(node):
        if spec.synthetic is not None:
            if not spec.folder.exists():
                say(f"making up {spec.synthetic.rows:,} rows in {spec.folder}")
            spec.synthesize(spec.folder, spec.synthetic)


def sources_in(node: object) -> Iterator[SourceSpec]:
    """Every source of a recipe or a part of it, also those in other components' tables."""
    if isinstance(node, SourceSpec):
        yield node
    elif isinstance(node, tuple | list):
        for element in node:
            yield from sources_in(element)
    elif attrs.has(kind := type(node)):
        for field in attrs.fields(kind):
            yield from sources_in(getattr(node, field.name))
