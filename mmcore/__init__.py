"""mmcore: train vision-language models that are composed, part by part, in a TOML recipe.

The names below load what they need when they are used; importing ``mmcore`` imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mmcore.loading import load
    from mmcore.planning.planner import plan
    from mmcore.recipe import RecipeError, load_recipe
    from mmcore.running.run import run
    from mmcore.specs import spec

__all__ = ["RecipeError", "__version__", "load", "load_recipe", "plan", "run", "spec"]

_HOMES = {
    "RecipeError": "mmcore.recipe",
    "load": "mmcore.loading",
    "load_recipe": "mmcore.recipe",
    "plan": "mmcore.planning.planner",
    "run": "mmcore.running.run",
    "spec": "mmcore.specs",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmcore' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
