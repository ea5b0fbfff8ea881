"""How differences of a measure are said: its unit, and what more and less of it are called."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mmcore.reporting.sweep.measures import CONVERGED, LOSS


@attrs.frozen
class Wording:
    """Of a measure.

    Attributes:
        title: what it is called in text; empty for its own name.
        unit: of its differences, as they are shown.
        more, less: what a point with more, or with less, is called.
        factor: from the measure to the unit.
        form: of its numbers, as Python's format takes it, without a sign.
    """

    title: str
    unit: str
    more: str
    less: str
    factor: float = 1.0
    form: str = ",.3f"

    def shown(self, value: float, sign: str = "") -> str:
        return f"{self.factor * value:{sign}{self.form}}"


OF_SCORES = Wording("", "percentage points", "better", "worse", factor=100.0, form=".1f")

OF_LEARNING: Mapping[str, Wording] = {
    LOSS: Wording("loss", "nats", "higher", "lower"),
    CONVERGED: Wording(
        "tokens to the common loss", "thousand tokens", "slower", "faster", factor=1e-3, form=",.1f"
    ),
    "variance": Wording("gradient variance", "", "less steady", "steadier", form=".2g"),
}
"""Those that points are compared in, besides scores."""


def wording(measure: str) -> Wording:
    return OF_LEARNING.get(measure, OF_SCORES)


def title(measure: str) -> str:
    """What a measure is called in text."""
    return wording(measure).title or measure
