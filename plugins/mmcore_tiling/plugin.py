"""Announces the tilers ``single`` and ``anyres``."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_tiling.spec import AnyResTilerSpec, SingleTilerSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [SingleTilerSpec, AnyResTilerSpec]
