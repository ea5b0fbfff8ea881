"""Read, inherit, override, structure and check a recipe: the one way in."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mmcore.recipe.check import Facts, Remark, check, check_machine
from mmcore.recipe.errors import Fault, RecipeError
from mmcore.recipe.inherit import read
from mmcore.recipe.override import override
from mmcore.recipe.schema import Recipe
from mmcore.recipe.structure import structure
from mmcore.recipe.tree import Node, place_of, spell
from mmcore_registry import Registry, discover


def load_recipe(
    path: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    registry: Registry | None = None,
    machine: bool = False,
) -> Recipe:
    """The recipe at ``path``, complete and checked; no torch is imported.

    Args:
        path: a TOML file; what it extends is read too.
        overrides: texts such as ``stages.sft.optimizer.lr=2e-5``, applied in order.
        registry: where components are looked up; the installed plugins by default.
        machine: whether this machine must be able to run it: weights, packages and data are
            there. A plan or a rehearsal needs none of them.

    Raises:
        RecipeError: with every fault that can be known, each with file, line and key.
    """
    root = read(path)
    faults = override(root, overrides)
    structured = structure(root, Recipe, discover() if registry is None else registry)
    facts = Facts(root, structured.values)
    remarks = [*check(facts), *(check_machine(facts) if machine else ())]
    faults += structured.faults
    faults += [_located(root, remark) for remark in remarks]
    if faults:
        raise RecipeError(faults)
    recipe = facts.at()
    assert isinstance(recipe, Recipe)
    return recipe


def _located(root: Node, remark: Remark) -> Fault:
    place = place_of(root, remark.path)
    return Fault(place.file, place.line, spell(root, remark.path), remark.message, remark.hint)
