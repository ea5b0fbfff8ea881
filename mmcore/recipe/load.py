"""Read, inherit, override, structure and check a recipe: the one way in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable

from mmcore.recipe.check import Facts, Remark, check
from mmcore.recipe.check_early_stop import check_early_stops
from mmcore.recipe.check_features import check_features
from mmcore.recipe.check_frozen import check_frozen
from mmcore.recipe.check_objectives import check_objectives
from mmcore.recipe.errors import Fault, RecipeError
from mmcore.recipe.inherit import read
from mmcore.recipe.lock import pinned, read_lock
from mmcore.recipe.machine import check_machine
from mmcore.recipe.override import override
from mmcore.recipe.schema import Recipe
from mmcore.recipe.structure import structure
from mmcore.recipe.tree import Node, place_of, spell
from mmcore_registry import Registry, discover

WITHOUT = (
    "nothing was started. What is missing is not needed by `mmcore run RECIPE --rehearse` (every "
    "stage, in small) and `mmcore plan RECIPE` (what it takes)"
)


def load_recipe(
    path: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    registry: Registry | None = None,
    machine: bool = False,
    locked: bool = True,
) -> Recipe:
    """The recipe at ``path``, complete and checked; no torch is imported.

    Args:
        path: a TOML file; what it extends is read too.
        overrides: texts such as ``stages.sft.optimizer.lr=2e-5``, applied in order.
        registry: where components are looked up; the installed plugins by default.
        machine: whether this machine must be able to run it: weights, packages and data are
            there. A plan or a rehearsal needs none of them.
        locked: whether hub ids mean the commits of the lock file beside the recipe, if it has one.

    Raises:
        LockError: the lock file is damaged.
        RecipeError: with every fault that can be known, each with file, line and key.
    """
    root = read(path)
    faults = override(root, overrides)
    lock = read_lock(path) if locked else {}
    root = pinned(root, lock)
    structured = structure(root, Recipe, discover() if registry is None else registry)
    facts = Facts(root, structured.values)
    lacking = list(check_machine(facts, lock)) if machine else []
    faults += structured.faults
    found = [
        *check(facts),
        *check_objectives(facts),
        *check_frozen(facts),
        *check_early_stops(facts),
        *check_features(facts),
    ]
    faults += [_located(root, remark, path) for remark in found]
    sound = not faults
    faults += [_located(root, remark, path) for remark in lacking]
    if faults:
        raise RecipeError(faults, _spelled(WITHOUT, path) if sound else "")
    recipe = facts.at()
    assert isinstance(recipe, Recipe)
    return recipe


def _located(root: Node, remark: Remark, path: str | os.PathLike[str]) -> Fault:
    place = place_of(root, remark.path)
    message, hint = _spelled(remark.message, path), _spelled(remark.hint, path)
    return Fault(place.file, place.line, spell(root, remark.path), message, hint)


def _spelled(text: str, path: str | os.PathLike[str]) -> str:
    """Commands in messages are about this recipe: specs cannot know its path, and say RECIPE."""
    return text.replace(" RECIPE", f" {shlex.quote(os.fspath(path))}")
