"""What this plugin announces."""

from __future__ import annotations

from mmcore_hf_causal.spec import HfCausalSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [HfCausalSpec]
