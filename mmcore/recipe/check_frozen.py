"""Whether a stage has what its objectives hold the model against: adapters, or prepared pairs."""

from __future__ import annotations

from collections.abc import Iterator

from mmcore.interfaces import ADAPTERS, ObjectiveSpec, SourceSpec
from mmcore.recipe.check import Facts, Remark
from mmcore.recipe.schema import TrainablePart
from mmcore.recipe.tree import KeyPath


def check_frozen(facts: Facts) -> Iterator[Remark]:
    """What is missing in any stage."""
    for stage in facts.stages:
        for path, objective in facts.below(*stage, "objectives"):
            if not isinstance(objective, ObjectiveSpec):
                continue
            if objective.frozen_model == ADAPTERS:
                yield from _adapters(facts, stage, path, objective)
            if objective.reads_references:
                yield from _references(facts, stage, objective)


def _adapters(
    facts: Facts, stage: KeyPath, path: KeyPath, objective: ObjectiveSpec
) -> Iterator[Remark]:
    """Without its adapters a model is as it was only where nothing else of it learns."""
    whole = [
        one.part
        for _, one in facts.below(*stage, "train")
        if isinstance(one, TrainablePart) and one.lora is None
    ]
    if whole:
        message = (
            f"is {ADAPTERS!r}: {objective.name!r} holds the model against itself without adapters, "
            f"but more than adapters is trained: {', '.join(map(repr, whole))}"
        )
        hint = (
            f'train {whole[0]} by adapters: {{ part = "{whole[0]}", lora = {{ rank = 16 }} }}; '
            "or name a folder of the model as it was"
        )
        yield Remark((*path, objective.frozen_key), message, hint)


def _references(facts: Facts, stage: KeyPath, objective: ObjectiveSpec) -> Iterator[Remark]:
    for path, source in facts.below(*stage, "data"):
        if isinstance(source, SourceSpec) and source.gives_pairs and not source.gives_references:
            message = (
                f"{source.name!r} gives pairs without the log-probabilities of a reference, which "
                f"{objective.name!r} reads from the data"
            )
            hint = 'prepare them with `mmcore data prepare-dpo RECIPE`; use = "prepared-pairs"'
            yield Remark((*path, "use"), message, hint)
