"""What this plugin announces."""

from __future__ import annotations

from mmcore_objectives.frozen_spec import DpoSpec, KlDistillSpec
from mmcore_objectives.pair_specs import ItcSpec, ItgSpec, ItmSpec
from mmcore_objectives.spec import AutoregressiveSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [AutoregressiveSpec, DpoSpec, ItcSpec, ItgSpec, ItmSpec, KlDistillSpec]
