"""Announces the trackers."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_trackers.spec import JsonLinesSpec, TensorBoardSpec, WandbSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [JsonLinesSpec, TensorBoardSpec, WandbSpec]
