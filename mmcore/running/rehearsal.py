"""A recipe's dress rehearsal: every stage for a few steps, at a size that any machine has.

The plugins, the engine and the code are those of the real run. What is smaller or made up is
said: components in their tiny form (or thin: full widths, one layer), rows that every source
synthesises in its own format, and the numbers that only a cluster can bear.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from mmcore.interfaces import (
    ADAPTERS,
    UNTRAINED,
    EncoderSpec,
    LLMSpec,
    ObjectiveSpec,
    SourceSpec,
    SyntheticContent,
    TaskSpec,
    TokenSamplerSpec,
)
from mmcore.recipe import (
    CheckpointTable,
    ModelTable,
    Recipe,
    Stage,
    ValidationTable,
    feature_folders,
    labels,
)
from mmcore.run_folder.folder import LOCK, STAGE_FILE, RunFolderError, locked
from mmcore.training.progress import SAMPLES, Progress

STEPS = 4
"""Steps of a stage, beside one for every source; between two checkpoints as many. Rehearsed at
full width, a stage has one."""

ROWS = 16
"""Made-up rows of a source."""

HELD_OUT_SHARE = 0.2
"""Of the made-up rows, for validation."""

QUESTIONS = 8
"""Questions of an evaluation, and the longest answer in tokens."""

THIN_TOKENS, THIN_VIEWS = 1024, 6
"""Bounds of a pack at full width: a picture in five tiles, and some text."""

SUFFIX = "-rehearsal"
MARKER = ".rehearsal"
"""Tells that a run folder is a rehearsal's, and may be deleted for the next one."""

NEVER = 10**9
"""Steps between checkpoints where none is wanted within a stage."""

PartSpec = TypeVar("PartSpec", EncoderSpec, TokenSamplerSpec, LLMSpec)


@attrs.frozen
class Rehearsal:
    """A recipe made small.

    Attributes:
        recipe: what is run.
        changes: what differs from the recipe that it was made from, line by line.
        interrupted_after: steps after which it is stopped once, to go on from a checkpoint in
            the middle of a stage; 0 where its stages are too short for that.
    """

    recipe: Recipe
    changes: tuple[str, ...]
    interrupted_after: int


def rehearsal_of(
    recipe: Recipe, *, root: Path = Path("runs"), processes: int = 1, thin: bool = False
) -> Rehearsal:
    """The same stages, plugins and engine, small enough for this machine.

    Args:
        recipe: checked, but not for what this machine lacks.
        root: where run folders lie; made-up rows go below the rehearsal's own.
        processes: how many will run it.
        thin: keep all widths, one layer deep, for one step a stage.
    """
    small = _Smaller(root / f"{recipe.name}{SUFFIX}" / "data", processes, thin)
    steps = [1 if thin else STEPS + len(stage.data) for stage in recipe.stages]
    stages = tuple(small.stage(*one) for one in zip(recipe.stages, steps, strict=True))
    rehearsed = attrs.evolve(
        recipe,
        name=f"{recipe.name}{SUFFIX}",
        model=small.model(recipe.model),
        data=attrs.evolve(recipe.data, lanes=processes),
        stages=stages,
        evaluations=tuple(
            small.task(task, f"evaluation-{number}")
            for number, task in enumerate(recipe.evaluations, start=1)
        ),
        checkpoints=CheckpointTable(
            every_steps=NEVER if thin else STEPS, keep_last=1, keep_stages=False
        ),
        validation=_validated(recipe.validation),
    )
    middle = 0 if thin else sum(steps[:-1]) + steps[-1] // 2
    return Rehearsal(rehearsed, tuple(_changes(recipe, rehearsed, thin)), middle)


class _Smaller:
    """How each kind of table is made small."""

    def __init__(self, data: Path, processes: int, thin: bool) -> None:
        self._data, self._processes, self._thin = data, processes, thin

    def model(self, table: ModelTable) -> ModelTable:
        def form(part: PartSpec) -> PartSpec:
            return part.thin() if self._thin else part.tiny()

        return attrs.evolve(
            table,
            encoder=form(table.encoder),
            token_sampler=form(table.token_sampler),
            llm=form(table.llm),
        )

    def stage(self, stage: Stage, steps: int) -> Stage:
        batch = attrs.evolve(stage.batch, packs_per_step=self._processes)
        if self._thin:
            batch = attrs.evolve(
                batch,
                max_tokens=min(batch.max_tokens, THIN_TOKENS),
                max_views=min(batch.max_views, THIN_VIEWS),
            )
        return attrs.evolve(
            stage,
            tokens=None,
            epochs=None,
            steps=steps,
            objectives=tuple(map(_beside_untrained, stage.objectives)),
            batch=batch,
            data=tuple(
                attrs.evolve(self.source(source, f"{stage.name}-{label}"), share=1.0)
                for label, source in labels(stage)
            ),
        )

    def task(self, task: TaskSpec, name: str) -> TaskSpec:
        shorter = attrs.evolve(
            task,
            samples=min(task.samples, QUESTIONS),
            max_new_tokens=min(task.max_new_tokens, QUESTIONS),
        )
        return _mapped(shorter, lambda source: self.source(source, name))

    def source(self, source: SourceSpec, name: str) -> SourceSpec:
        content = source.synthetic or SyntheticContent(rows=ROWS)
        moved = source.relocated(self._data / name.replace("#", "-"))
        fewer = attrs.evolve(content, rows=min(content.rows, ROWS))
        # Features that were made beforehand are the real encoder's, of the real pictures.
        return attrs.evolve(moved, synthetic=fewer, features=None)


def _validated(table: ValidationTable | None) -> ValidationTable | None:
    """So many rows held out that the few made-up ones have some, and none lacks the others."""
    if table is None:
        return None
    share = max(table.share, HELD_OUT_SHARE)
    return attrs.evolve(table, share=share, rows=min(table.rows, ROWS), every_steps=STEPS)


def _beside_untrained(objective: ObjectiveSpec) -> ObjectiveSpec:
    """With a model of the rehearsal's own size in the place of one in a folder."""
    if objective.frozen_model in ("", ADAPTERS):
        return objective
    keys: dict[str, Any] = {objective.frozen_key: UNTRAINED}
    return attrs.evolve(objective, **keys)


def _mapped(task: TaskSpec, change: Callable[[SourceSpec], SourceSpec]) -> TaskSpec:
    """The task with every source among its keys changed."""
    changed: dict[str, Any] = {
        field.name: change(value)
        for field in attrs.fields(type(task))
        if isinstance(value := getattr(task, field.name), SourceSpec)
    }
    return attrs.evolve(task, **changed)


def _changes(recipe: Recipe, small: Recipe, thin: bool) -> Iterator[str]:
    form = "thin (all widths, one layer)" if thin else "tiny"
    names = ", ".join(
        part.name for part in (recipe.model.encoder, recipe.model.token_sampler, recipe.model.llm)
    )
    yield f"model: {names} in their {form} form, with random weights"
    sources = sum(len(stage.data) for stage in recipe.stages)
    yield f"data: {sources} sources, each with {ROWS} made-up rows at most, in equal shares"
    if any(map(feature_folders, recipe.stages)):
        yield "features: not read; pictures are encoded"
    first, smaller = recipe.stages[0].batch, small.stages[0].batch
    yield (
        f"lanes: {recipe.data.lanes} -> {small.data.lanes}; packs in a step: "
        f"{first.packs_per_step} -> {smaller.packs_per_step}"
    )
    if thin:
        yield f"packs: at most {THIN_TOKENS} tokens and {THIN_VIEWS} views"
    steps = ", ".join(f"{stage.name} {stage.steps}" for stage in small.stages)
    yield f"steps: {steps}"
    objectives = [one for stage in recipe.stages for one in stage.objectives]
    for name in dict.fromkeys(one.frozen_model for one in objectives):
        if name not in ("", ADAPTERS):
            yield f"beside the model: {name} -> one of its own form with random weights"
    if small.validation is not None:
        yield f"validation: {small.validation.share:.0%} of the rows, every {STEPS} steps"
    if recipe.evaluations:
        yield f"evaluations: {QUESTIONS} questions at most, answers of {QUESTIONS} tokens"


def with_sdpa(rehearsal: Rehearsal) -> Rehearsal:
    """The same rehearsal where xformers has no kernels: on a machine without CUDA."""
    if rehearsal.recipe.model.attention != "xformers":
        return rehearsal
    model = attrs.evolve(rehearsal.recipe.model, attention="sdpa")
    return attrs.evolve(
        rehearsal,
        recipe=attrs.evolve(rehearsal.recipe, model=model),
        changes=(*rehearsal.changes, "attention: xformers -> sdpa, for there is no CUDA here"),
    )


@contextmanager
def cleared(folder: Path) -> Iterator[None]:
    """Room for a rehearsal in its run folder, until it is over: an earlier one is deleted.

    Raises:
        RunFolderError: the folder is no rehearsal's, or another rehearsal is in it.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise RunFolderError(
            f"{folder} is there and was not made by a rehearsal, which would delete it; "
            "give the recipe another name with --set name=..."
        )
    with locked(folder, MARKER):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name not in (MARKER, LOCK):
                entry.unlink()
        yield


class UnreadSourceError(ValueError):
    """A rehearsal trained on nothing of some source."""


def check_sources(rehearsal: Rehearsal, folder: Path) -> None:
    """Whether every source of every stage was trained on.

    Raises:
        UnreadSourceError: some gave no sample; names all of them.
    """
    silent = []
    for stage in rehearsal.recipe.stages:
        path = folder / STAGE_FILE.format(stage.name)
        counts = Progress.from_json(json.loads(path.read_text(encoding="utf-8"))).counts
        unread = [label for label, _ in labels(stage) if not counts.get(f"{SAMPLES}/{label}")]
        silent += [f"{label} in stage {stage.name!r}" for label in unread]
    if silent:
        raise UnreadSourceError(
            f"nothing was trained on of: {', '.join(silent)}; other samples filled the few packs "
            "of the rehearsal, see the sizes of samples in audit-*.json"
        )
