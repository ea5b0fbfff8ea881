"""Whether features of a frozen encoder may be read in place of a stage's pictures."""

from __future__ import annotations

from collections.abc import Iterator

from mmcore.interfaces import SourceSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import TrainablePart
from mmcore.recipe.tree import KeyPath


def check_features(facts: Facts) -> Iterator[Remark]:
    """Every source that names a folder of features and may not."""
    for stage in facts.stages:
        yield from _of_stage(facts, stage)
    for path, spec in facts.below("evaluations"):
        if isinstance(spec, SourceSpec) and spec.features is not None:
            message = "is set, and questions always show pictures"
            yield Remark((*path, "features"), message, "leave it out here")


def _of_stage(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    sources = [
        (path, spec) for path, spec in facts.below(*stage, "data") if isinstance(spec, SourceSpec)
    ]
    cached = [(path, spec) for path, spec in sources if spec.features is not None]
    if not cached:
        return
    for path, part in facts.below(*stage, "train"):
        if isinstance(part, TrainablePart) and part.part == "encoder":
            message = (
                "names the encoder, and its features are read from "
                f"{cached[0][1].features!r}: what is read does not change as the encoder learns"
            )
            hint = "freeze the encoder in this stage, or leave `features` of its sources out"
            yield Remark(path, message, hint)
    for path, spec in sources:
        if spec.features is None:
            # Ranks would enter the encoder unequally often, and wait for one another for ever.
            message = (
                f"{spec.name!r} has no `features`, and another source of the stage has: all "
                "pictures of a stage are encoded in training, or none"
            )
            hint = f'features = "{cached[0][1].features}"'
            yield Remark((*path, "features"), message, hint)
