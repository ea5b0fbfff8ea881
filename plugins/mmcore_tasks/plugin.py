"""Announces the task ``exact-answer``."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_tasks.spec import ExactAnswerSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [ExactAnswerSpec]
