"""Announces the sources ``llava-json`` and ``blip3-ocr``."""

from __future__ import annotations

from mmcore_blip3.spec import Blip3OcrSpec, LlavaJsonSpec
from mmcore_registry import Spec, hookimpl


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [LlavaJsonSpec, Blip3OcrSpec]
