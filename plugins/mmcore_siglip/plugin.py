"""What this plugin announces."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_siglip.spec import SiglipSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [SiglipSpec]
