"""The objectives as recipes name them."""

from __future__ import annotations

from typing import ClassVar

import attrs

from mmcore.interfaces import Objective, ObjectiveSpec


@attrs.frozen(kw_only=True)
class AutoregressiveSpec(ObjectiveSpec):
    """Predict the next token of every text that is to be learned (the one loss of BLIP-3)."""

    name: ClassVar[str] = "autoregressive"

    def build(self) -> Objective:
        from mmcore_objectives.autoregressive import Autoregressive

        return Autoregressive()
