"""Announces the optimizers."""

from __future__ import annotations

from mmcore_optim.spec import AdamWSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [AdamWSpec]
