"""Announces the sources of BLIP-3's datasets."""

from __future__ import annotations

from mmcore_blip3.annotations_spec import (
    Blip3GroundingSpec,
    Blip3OcrHdSpec,
    Blip3OcrSpec,
    IdlSpec,
    VisualGenomeSpec,
)
from mmcore_blip3.captions_spec import Blip3KaleSpec, Cc3mSpec, Cc12mSpec, DatacompSpec, SbuSpec
from mmcore_blip3.documents_spec import (
    Mint1tArxivSpec,
    Mint1tHtmlSpec,
    Mint1tPdfSpec,
    ObelicsSpec,
)
from mmcore_blip3.preferences_spec import PreferencePairsSpec, VlFeedbackSpec
from mmcore_blip3.safety_spec import VlGuardSpec
from mmcore_blip3.spec import LlavaJsonSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [
        LlavaJsonSpec,
        ObelicsSpec,
        Mint1tHtmlSpec,
        Mint1tPdfSpec,
        Mint1tArxivSpec,
        Blip3OcrSpec,
        Blip3KaleSpec,
        DatacompSpec,
        Cc12mSpec,
        Cc3mSpec,
        SbuSpec,
        Blip3OcrHdSpec,
        Blip3GroundingSpec,
        VisualGenomeSpec,
        IdlSpec,
        VlFeedbackSpec,
        PreferencePairsSpec,
        VlGuardSpec,
    ]
