"""What the engine would configure the library under it with, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping

from mmcore.recipe import Recipe


def configurations(recipe: Recipe) -> dict[str, Mapping[str, object]]:
    """The configuration of every stage, by the stage's name; needs no torch.

    Raises:
        ValueError: the recipe's engine has nothing of the kind.
    """
    found = {}
    for stage in recipe.stages:
        configuration = recipe.engine.configuration(stage.optimizer)
        if configuration is None:
            raise ValueError(
                f"engine {recipe.engine.name!r} makes no configuration; "
                "write --set engine.use=deepspeed"
            )
        found[stage.name] = configuration
    return found
