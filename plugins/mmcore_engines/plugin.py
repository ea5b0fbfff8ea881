"""Announces the engines."""

from __future__ import annotations

from mmcore_engines.spec import DeepSpeedSpec, TorchSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [TorchSpec, DeepSpeedSpec]
