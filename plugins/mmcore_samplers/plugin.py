"""What this plugin announces."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_samplers.c_abstractor_spec import CAbstractorSpec
from mmcore_samplers.pixel_shuffle_spec import PixelShuffleSpec
from mmcore_samplers.qformer_spec import QFormerSpec
from mmcore_samplers.spec import MLPSpec, PerceiverSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [PerceiverSpec, MLPSpec, PixelShuffleSpec, CAbstractorSpec, QFormerSpec]
