"""Lay one written table over another: what differs follows, the rest stays."""

from __future__ import annotations

import attrs

from mmcore.recipe.schema import BUDGETS
from mmcore.recipe.tree import KeyPath, Node, Table, name_of


def merge(base: Node, over: Node, path: KeyPath = ()) -> Node:
    """``over`` laid over ``base``.

    Tables merge key by key. Arrays of tables that all have a ``name`` merge by it: the base's
    order stays, new names follow. Any other value of ``over`` replaces the base's.
    """
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        table = give_way(base.value, over.value, path)
        for key, node in over.value.items():
            below = table.get(key)
            table[key] = merge(below, node, (*path, key)) if below else node
        return Node(table, over.place)
    if isinstance(base.value, list) and isinstance(over.value, list):
        elements = [*base.value, *over.value]
        if all(name_of(element) is not None for element in elements):
            return Node(_merge_by_name(base.value, over.value, path), over.place)
    return over


def give_way(base: Table, over: Table, path: KeyPath) -> Table:
    """The table at ``path`` without what contradicts ``over``, which is about to be laid over it.

    Another ``use`` makes the keys of the component named before ``left_over``; a new length of a
    stage takes the place of the old one, which may be in another unit.
    """
    table = dict(base)
    if "use" in base and "use" in over and base["use"].value != over["use"].value:
        table = {key: attrs.evolve(node, left_over=True) for key, node in base.items()}
    is_stage = len(path) == 2 and path[0] == "stages"
    if is_stage and any(unit in over for unit in BUDGETS):
        table = {key: node for key, node in table.items() if key not in BUDGETS}
    return table


def _merge_by_name(base: list[Node], over: list[Node], path: KeyPath) -> list[Node]:
    merged = list(base)
    names = [name_of(element) for element in base]
    for element in over:
        name = name_of(element)
        if name in names:
            index = names.index(name)
            merged[index] = merge(merged[index], element, (*path, index))
        else:
            merged.append(element)
    return merged
