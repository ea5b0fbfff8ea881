"""What this plugin announces."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_xgenmm.spec import XGenMMSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [XGenMMSpec]
