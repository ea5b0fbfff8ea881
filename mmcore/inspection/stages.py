"""Which stages and sources are looked at, with what they are read with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from mmcore import assemble
from mmcore.data.held_out import HeldOut
from mmcore.data.prepare import Preparer
from mmcore.interfaces import SourceSpec, SyntheticContent, TextFormat, WeightsError
from mmcore.recipe import Recipe, Stage, labels
from mmcore_registry import nearest


class InspectionError(ValueError):
    """What was asked for is not in the recipe, or cannot be written."""


@attrs.frozen(eq=False)
class StageData:
    """A stage's sources and what prepares their rows.

    Attributes:
        stage: as the recipe has it.
        sources: label and spec; on made-up rows where those were wished for.
        preparer: as training has it.
        seed: of the order in which rows are read.
        held_out: rows that are never trained on.
    """

    stage: Stage
    sources: Sequence[tuple[str, SourceSpec]]
    preparer: Preparer
    seed: int
    held_out: HeldOut = attrs.field(factory=HeldOut)


@attrs.frozen(eq=False)
class Look:
    """What is looked at.

    Attributes:
        recipe: the recipe.
        stages: those that were asked for.
        notes: what differs from the recipe.
        made_up: whether rows were made up for this look.
    """

    recipe: Recipe
    stages: Sequence[StageData]
    notes: Sequence[str] = ()
    made_up: bool = False


@contextmanager
def looked_at(
    recipe: Recipe, *, stage: str | None = None, source: str | None = None, made_up: int = 0
) -> Iterator[Look]:
    """The stages and sources that were asked for, while their files are there.

    Args:
        recipe: checked, but not for what this machine lacks.
        stage: the name of one stage; None for all.
        source: the label of one source; None for all.
        made_up: rows that every source makes up in its own format, in a folder that is deleted
            afterwards; 0 reads the recipe's own files.

    Raises:
        InspectionError: there is no such stage or source; names the nearest. Or the LLM's
            tokenizer is missing, and rows are not made up.
    """
    chosen = [_of_source(one, source) for one in _stages(recipe, stage)]
    chosen = [(one, sources) for one, sources in chosen if sources]
    if not chosen:
        raise _unknown_source(_stages(recipe, stage), source or "")
    if not made_up:
        text = _own_text(recipe)
        yield Look(recipe, [_data(recipe, one, sources, text) for one, sources in chosen])
        return
    text, notes = _any_text(recipe)
    notes = [f"every source has {made_up} made-up rows in its own format", *notes]
    with TemporaryDirectory(prefix="mmcore-made-up-") as folder:
        moved = [
            (one, [_made_up(label, spec, Path(folder) / one.name, made_up) for label, spec in many])
            for one, many in chosen
        ]
        yield Look(recipe, [_data(recipe, one, many, text) for one, many in moved], notes, True)


def _data(
    recipe: Recipe, stage: Stage, sources: Sequence[tuple[str, SourceSpec]], text: TextFormat
) -> StageData:
    preparer = assemble.preparer(recipe.model, stage, text)
    seed = assemble.data_seed(recipe, stage)
    return StageData(stage, sources, preparer, seed, assemble.held_out(recipe))


def _own_text(recipe: Recipe) -> TextFormat:
    try:
        return recipe.model.llm.text()
    except WeightsError as error:
        raise InspectionError(
            f"without its tokenizer nobody can say what {recipe.model.llm.name!r} reads: {error}; "
            "--made-up does with a small one"
        ) from error


def _any_text(recipe: Recipe) -> tuple[TextFormat, list[str]]:
    """The LLM's own text format, or, where its tokenizer is not here, that of its tiny form."""
    try:
        return recipe.model.llm.text(), []
    except WeightsError:
        note = f"the tokenizer is the small one of {recipe.model.llm.name}'s tiny form: its own is"
        return recipe.model.llm.tiny().text(), [f"{note} not here"]


def _made_up(label: str, spec: SourceSpec, folder: Path, rows: int) -> tuple[str, SourceSpec]:
    content = attrs.evolve(spec.synthetic or SyntheticContent(rows=rows), rows=rows)
    moved = spec.relocated(folder / label.replace("#", "-"))
    return label, attrs.evolve(moved, synthetic=content)


def _stages(recipe: Recipe, name: str | None) -> list[Stage]:
    if name is None:
        return list(recipe.stages)
    names = [stage.name for stage in recipe.stages]
    if name not in names:
        raise InspectionError(f"no stage is called {name!r}{_hint(name, names)}")
    return [recipe.stages[names.index(name)]]


def _of_source(stage: Stage, label: str | None) -> tuple[Stage, list[tuple[str, SourceSpec]]]:
    return stage, [one for one in labels(stage) if label in (None, one[0])]


def _unknown_source(stages: Sequence[Stage], label: str) -> InspectionError:
    known = list(dict.fromkeys(name for stage in stages for name, _ in labels(stage)))
    where = f"stage {stages[0].name!r}" if len(stages) == 1 else "the recipe"
    return InspectionError(f"no source of {where} is called {label!r}{_hint(label, known)}")


def _hint(word: str, known: Sequence[str]) -> str:
    close = nearest(word, known)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"{hint} (there are: {', '.join(known)})"
