"""Whether a stage's objectives find what they need, and reach what is to learn."""

from __future__ import annotations

from collections.abc import Iterator

from mmcore.interfaces import PARTS, ObjectiveSpec, TilerSpec, TokenSamplerSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import TrainablePart
from mmcore.recipe.tree import KeyPath


def check_objectives(facts: Facts) -> Iterator[Remark]:
    """Needs that the token sampler or the tiler do not meet, what is named twice, and parts that
    would learn nothing."""
    for stage in facts.stages:
        yield from _objectives(facts, stage)
        yield from _twice(facts, stage)
        yield from _reached(facts, stage)


def _objectives(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    sampler = facts.at("model", "token_sampler")
    if not isinstance(sampler, TokenSamplerSpec):
        return
    for path, objective in facts.below(*stage, "objectives"):
        if not isinstance(objective, ObjectiveSpec):
            continue
        missing = sorted(objective.needs - sampler.provides)
        if missing:
            has = ", ".join(sorted(sampler.provides)) or "nothing beyond tokens"
            message = (
                f"{objective.name!r} needs {', '.join(missing)} of the token sampler; "
                f"{sampler.name!r} provides {has}"
            )
            yield Remark((*path, "use"), message)
        tiler = facts.at(*stage, "tiler")
        if objective.needs and isinstance(tiler, TilerSpec) and tiler.max_groups > 1:
            message = (
                f"{objective.name!r} compares a picture in one view with its text; the tiler "
                f"{tiler.name!r} makes up to {tiler.max_groups} views of a picture"
            )
            yield Remark((*path, "use"), message, 'tiler = { use = "single" }')


def _twice(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    """Losses are told by the objective's name, and of two with one name one would be lost."""
    named = set[str]()
    for path, objective in facts.below(*stage, "objectives"):
        if not isinstance(objective, ObjectiveSpec):
            continue
        if objective.name in named:
            message = f"{objective.name!r} is an objective of the stage already"
            yield Remark(
                (*path, "use"), message, "name it once; its weight says how much it counts"
            )
        named.add(objective.name)


def _reached(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    """A part that no objective reaches has no gradient: to train it is a mistake."""
    objectives = facts.at(*stage, "objectives")
    if not isinstance(objectives, tuple):
        return  # not all of them are known
    known = [one for one in objectives if isinstance(one, ObjectiveSpec)]
    reached = frozenset().union(*(one.reaches for one in known))
    for path, part in facts.below(*stage, "train"):
        if isinstance(part, TrainablePart) and part.part in set(PARTS) - reached:
            names = ", ".join(repr(one.name) for one in known)
            message = f"trains {part.part!r}, and no objective of the stage reaches it: {names}"
            hint = f"they reach {' and '.join(name for name in PARTS if name in reached)}"
            yield Remark(path, message, hint)
