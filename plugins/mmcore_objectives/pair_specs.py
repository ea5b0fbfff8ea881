"""BLIP-2's objectives, which learn from pairs of a picture and its text, as recipes name them."""

from __future__ import annotations

from typing import ClassVar, Literal

import attrs
from attrs.validators import and_, ge, lt

from mmcore.interfaces import CAPTION, CONTRAST, MATCH, Objective, ObjectiveSpec
from mmcore_registry import doc

SMOOTHING = 0.1
"""BLIP-2's label smoothing."""

VISION = frozenset({"encoder", "token_sampler"})
"""Parts that these objectives reach: the LLM is not entered for them."""


@attrs.frozen(kw_only=True)
class ItcSpec(ObjectiveSpec):
    """Tell a picture's own text from those of other pairs of the step, and the other way round
    (BLIP-2's image-text contrast)."""

    name: ClassVar[str] = "itc"
    needs: ClassVar[frozenset[str]] = frozenset({CONTRAST})
    scope: ClassVar[Literal["pack", "step"]] = "step"
    reaches: ClassVar[frozenset[str]] = VISION

    candidates: int = attrs.field(
        default=64,
        validator=ge(2),
        metadata=doc(
            "pairs of the step that a picture, and a text, is compared with, its own among them; "
            "all in a step with fewer"
        ),
    )
    label_smoothing: float = attrs.field(
        default=SMOOTHING,
        validator=and_(ge(0), lt(1)),
        metadata=doc("share of the target that is spread over the candidates"),
    )

    def build(self) -> Objective:
        from mmcore_objectives.itc import ImageTextContrast

        return ImageTextContrast(self.candidates, self.label_smoothing)


@attrs.frozen(kw_only=True)
class ItmSpec(ObjectiveSpec):
    """Say whether a text is that of a picture, for every pair of the step and two hard negatives of
    it (BLIP-2's image-text matching)."""

    name: ClassVar[str] = "itm"
    needs: ClassVar[frozenset[str]] = frozenset({CONTRAST, MATCH})
    only_looks: ClassVar[frozenset[str]] = frozenset({CONTRAST})
    scope: ClassVar[Literal["pack", "step"]] = "step"
    reaches: ClassVar[frozenset[str]] = VISION

    def build(self) -> Objective:
        from mmcore_objectives.itm import ImageTextMatching

        return ImageTextMatching()


@attrs.frozen(kw_only=True)
class ItgSpec(ObjectiveSpec):
    """Let the token sampler itself say a picture's text, token by token (BLIP-2's image-grounded
    text generation)."""

    name: ClassVar[str] = "itg"
    needs: ClassVar[frozenset[str]] = frozenset({CAPTION})
    reaches: ClassVar[frozenset[str]] = VISION

    label_smoothing: float = attrs.field(
        default=SMOOTHING,
        validator=and_(ge(0), lt(1)),
        metadata=doc("share of the target that is spread over the vocabulary"),
    )

    def build(self) -> Objective:
        from mmcore_objectives.itg import ImageGroundedGeneration

        return ImageGroundedGeneration(self.label_smoothing)
