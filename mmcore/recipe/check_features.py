"""Whether features of a frozen encoder may be read in place of a stage's pictures."""

from __future__ import annotations

from collections.abc import Iterator

from mmcore.interfaces import ADAPTERS, ObjectiveSpec, SourceSpec, TilerSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import TrainablePart
from mmcore.recipe.tree import KeyPath


def check_features(facts: Facts) -> Iterator[Remark]:
    """Every source that names a folder of features and may not."""
    for stage in facts.stages:
        yield from _of_stage(facts, stage)
    yield from _shared(facts)
    for path, spec in facts.below("evaluations"):
        if isinstance(spec, SourceSpec) and spec.features is not None:
            message = "is set, and questions always show pictures"
            yield Remark((*path, "features"), message, "leave it out here")


def _encoder_learns(facts: Facts, stage: KeyPath) -> Iterator[KeyPath]:
    for path, part in facts.below(*stage, "train"):
        if isinstance(part, TrainablePart) and part.part == "encoder":
            yield path


def _shared(facts: Facts) -> Iterator[Remark]:
    """Folders of which several stages want different features."""
    first: dict[str, tuple[object, int]] = {}
    encoder = 0  # how often it has been trained
    for stage in facts.stages:
        encoder += any(True for _ in _encoder_learns(facts, stage))
        tiler = facts.at(*stage, "tiler")
        told = set[str]()
        for path, spec in facts.below(*stage, "data"):
            folder = spec.features if isinstance(spec, SourceSpec) else None
            if folder is None or folder in told or not isinstance(tiler, TilerSpec):
                continue
            told.add(folder)
            before, trained = first.setdefault(folder, (tiler, encoder))
            why = "cuts pictures otherwise" if before != tiler else "has another encoder"
            if (before, trained) != (tiler, encoder):
                message = f"is {folder!r} as in an earlier stage, which {why}"
                yield Remark((*path, "features"), message, "name a folder of this stage's own")


def _of_stage(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    sources = [
        (path, spec) for path, spec in facts.below(*stage, "data") if isinstance(spec, SourceSpec)
    ]
    cached = [(path, spec) for path, spec in sources if spec.features is not None]
    if not cached:
        return
    for path in _encoder_learns(facts, stage):
        message = (
            "names the encoder, and its features are read from "
            f"{cached[0][1].features!r}: what is read does not change as the encoder learns"
        )
        hint = "freeze the encoder in this stage, or leave `features` of its sources out"
        yield Remark(path, message, hint)
    for path, one in facts.below(*stage, "objectives"):
        if isinstance(one, ObjectiveSpec) and one.frozen_model not in ("", ADAPTERS):
            message = (
                f"is {one.frozen_model!r}, which looks at pictures through an encoder of its own, "
                f"and {cached[0][1].features!r} has the features of this one"
            )
            yield Remark((*path, one.frozen_key), message, "leave `features` of its sources out")
    for path, spec in sources:
        if spec.features is None:
            # Ranks would enter the encoder unequally often, and wait for one another for ever.
            message = (
                f"{spec.name!r} has no `features`, and another source of the stage has: all "
                "pictures of a stage are encoded in training, or none"
            )
            hint = f'features = "{cached[0][1].features}"'
            yield Remark((*path, "features"), message, hint)
