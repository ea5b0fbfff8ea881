"""What this plugin announces."""

from __future__ import annotations

from mmcore_phi3.spec import Phi3Spec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [Phi3Spec]
