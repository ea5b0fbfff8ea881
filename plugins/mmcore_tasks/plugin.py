"""Announces the tasks."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_tasks.spec import CaptionMatchSpec, ExactAnswerSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [CaptionMatchSpec, ExactAnswerSpec]
