"""Where a run begins and ends: which of its stages, and from which weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch

from mmcore import assemble
from mmcore.exchange.model_folder import DESCRIPTION, read_model_file
from mmcore.exchange.stored import open_stored, values_of
from mmcore.interfaces import PARTS, WeightsError
from mmcore.model.initial import Initial
from mmcore.recipe import ModelTable, Recipe, Stage, load_recipe
from mmcore.run_folder.folder import CHECKPOINTS, RECIPE, start_at
from mmcore.training.checkpoint import latest
from mmcore.training.checkpoint_format import MANIFEST
from mmcore.training.progress import Progress
from mmcore_registry import nearest


class RunError(ValueError):
    """The run cannot be started as it was asked for."""


@attrs.frozen
class Span:
    """The stages of a recipe that are to be trained, by number.

    Attributes:
        first: where the run begins if its folder has no checkpoint of that stage or a later one;
            None begins where the folder ends.
        last: after which it stops.
        weights: what ``first`` begins from instead of the stage before; None for that one.
    """

    first: int | None
    last: int
    weights: Path | None = None

    def begins_anew(self, progress: Progress) -> bool:
        """Whether the weights that were named are to be used, for the stage has not begun."""
        return self.weights is not None and progress.stage_index < (self.first or 0)

    def begins_with(self, done: Progress | None) -> Path | None:
        """The weights that were named, if a run that has come so far begins with them now."""
        return self.weights if done is None or self.begins_anew(done) else None


def began(recipe: Recipe, wanted: Span, done: Progress | None) -> tuple[str, Path] | None:
    """The stage that is begun now from named weights, and these: of a run, the checkpoint, for it
    may have a newer one later. None where none is begun.

    Args:
        done: how far the run folder has come.
    """
    named = wanted.begins_with(done)
    if named is None:
        return None
    return recipe.stages[wanted.first or 0].name, checkpoint_at(named) or named


def check_used(folder: Path, recipe: Recipe, wanted: Span, done: Progress | None) -> None:
    """Whether weights that are named are those that their stage began from, if it has begun: the
    same words go on with it, and others would be passed over.

    Args:
        folder: of the run.
        done: how far it has come.

    Raises:
        RunError: the stage began from something else.
    """
    if wanted.weights is None or done is None or wanted.begins_anew(done):
        return
    name = recipe.stages[wanted.first or 0].name
    start = start_at(folder, done.step - done.stage_step if wanted.first else 0)
    if start is None:  # the record was moved aside
        return
    used = start.get("from") if start.get("stage") == name else None
    if used is None or not _is(Path(used), wanted.weights):
        source = used or ("the stage before it" if wanted.first else "what the recipe says")
        raise RunError(
            f"--from {wanted.weights} would not be used: stage {name!r} of {folder} has begun, "
            f"from {source}; leave --from out to go on, or give the run another name with "
            "--set name=..."
        )


def _is(used: Path, named: Path) -> bool:
    """Whether weights that were used are those that are named, or of the run that is named."""
    used, named = used.resolve(), named.resolve()
    return named == used or (named / CHECKPOINTS == used.parent)


def found(wanted: Span, done: Progress | None) -> Span:
    """With the checkpoint that is named, where it is a run folder's newest: that may change.

    Args:
        done: how far the run folder has come.
    """
    named = wanted.begins_with(done)
    return wanted if named is None else attrs.evolve(wanted, weights=checkpoint_at(named) or named)


def span(
    recipe: Recipe,
    done: Progress | None,
    *,
    stage: str | None = None,
    until: str | None = None,
    weights: Path | None = None,
) -> Span:
    """Which stages are trained now.

    Args:
        recipe: whose stages.
        done: how far the run folder has come; None where it has no checkpoint.
        stage: train this stage only.
        until: stop after this one.
        weights: a run folder, checkpoint or model folder that ``stage`` (by default the first)
            begins from.

    Raises:
        RunError: there is no such stage, the stage before it is not finished, a later one has
            begun, or the weights are those of another model.
    """
    if stage is not None and until is not None:
        raise RunError(f"--stage {stage} trains that stage alone; leave out --until {until}")
    last = _number(recipe, stage if stage is not None else until)
    if stage is None and weights is None:
        return Span(None, last)  # where the folder ends
    first = 0 if stage is None else last
    if weights is None:
        _check_before(recipe, first, done)
    if stage is not None:
        _check_after(recipe, first, done)
    if weights is not None and (done is None or done.stage_index < first):
        _check_same(weights, recipe)
    return Span(first, last, weights)


def _number(recipe: Recipe, name: str | None) -> int:
    names = [stage.name for stage in recipe.stages]
    if name is None:
        return len(names) - 1
    if name not in names:
        close = nearest(name, names)
        hint = f"; did you mean {close!r}?" if close else ""
        raise RunError(f"no stage is called {name!r}{hint} (there are: {', '.join(names)})")
    return names.index(name)


def _check_before(recipe: Recipe, first: int, done: Progress | None) -> None:
    if first == 0 or (done is not None and _ended(done, first - 1)):
        return
    name, before = recipe.stages[first].name, recipe.stages[first - 1].name
    reached = "the run has no checkpoint yet"
    if done is not None:
        steps = f"{done.stage_step:,} steps"
        reached = f"the run is at {steps} of stage {done.stage!r}"
        if done.finished:
            reached = f"the run has finished stage {done.stage!r} and no later one"
    raise RunError(
        f"stage {name!r} begins where stage {before!r} ends, which is not finished: {reached}; "
        f"train it first with --until {before}, or name what to begin from with --from PATH (a run "
        "folder, a checkpoint or a model folder)"
    )


def _check_after(recipe: Recipe, first: int, done: Progress | None) -> None:
    if done is not None and done.stage_index > first:
        name = recipe.stages[first].name
        raise RunError(
            f"stage {name!r} is over: the run is in stage {done.stage!r} by now; to train it "
            "again, give the run another name with --set name=... and say what it begins from "
            "with --from PATH"
        )


def _ended(done: Progress, number: int) -> bool:
    return done.stage_index > number or (done.stage_index == number and done.finished)


def begun(done: Progress | None) -> int:
    """How many stages of a run have begun: those whose keys may not change any more."""
    return 1 if done is None else done.stage_index + 1


def initial_from(
    path: Path, recipe: Recipe, device: torch.device, stage: Stage | None, files: ExitStack
) -> Initial:
    """The recipe's model with the weights of a run folder, a checkpoint or a model folder.

    Adapters in a checkpoint are merged, unless ``stage`` goes on with the same ones.

    Args:
        files: closes what is read from, when the values have been made.

    Raises:
        RunError: the path is none of them.
        CheckpointError, WeightsError: names or shapes differ, or files are damaged.
    """
    checkpoint = checkpoint_at(path)
    if checkpoint is not None:
        return assemble.initial_of_checkpoint(recipe, checkpoint, device, stage)
    stored = files.enter_context(open_stored(path))
    initial = assemble.initial_model(recipe.model, recipe.seed, device, loaded=False)
    return initial.instead(values_of(initial.model, stored))


def checkpoint_at(path: Path) -> Path | None:
    """The checkpoint that ``path`` is, or the newest of the run that it is; None for a model
    folder.

    Raises:
        RunError: it is none of them.
    """
    if (path / DESCRIPTION).is_file():
        return None
    checkpoint = path if (path / MANIFEST).is_file() else None
    if checkpoint is None and path.is_dir():
        checkpoint = latest(path / CHECKPOINTS)
    if checkpoint is None:
        raise RunError(
            f"--from {path}: wanted a run folder with a checkpoint, a checkpoint or a model folder"
        )
    return checkpoint


def _check_same(path: Path, recipe: Recipe) -> None:
    """Whether the recipe's model can begin from the weights at ``path``, as far as descriptions
    tell.

    Raises:
        RunError: it is another one; says all of it.
    """
    checkpoint = checkpoint_at(path)
    if checkpoint is None:
        before = read_model_file(path).model
    elif (described := checkpoint.parent.parent / RECIPE).is_file():
        before = load_recipe(described).model
    else:
        return  # a checkpoint that was moved: names and shapes are compared when it is read
    found = list(model_differences(before, recipe.model))
    if found:
        listing = "\n".join(f"  {one}" for one in found)
        raise RunError(
            f"--from {path}: a stage goes on with the model that it begins from, and this recipe "
            f"has another:\n{listing}"
        )


def model_differences(before: ModelTable, now: ModelTable) -> Iterator[str]:
    """What differs between two models, so that weights of one mean something else in the other.

    Components, what the encoder sees, how many tokens a view becomes, widths, and every id that
    the text format writes. Shapes of weights are compared where they are read.
    """
    facts = [_facts(before), _facts(now)]
    for key in facts[0]:
        old, new = (one[key] for one in facts)
        if old != new and None not in (old, new):
            yield f"{key}: {old} -> {new}"


def _facts(table: ModelTable) -> dict[str, object]:
    view, llm = table.encoder.view, table.llm
    facts: dict[str, object] = {f"model.{part}.use": getattr(table, part).name for part in PARTS}
    facts |= {
        "the encoder's view": f"{view.size} px in {view.patch_rows} x {view.patch_cols} patches",
        "the encoder's width": table.encoder.feature_width,
        "tokens of a view": table.token_sampler.tokens_per_view(view.grid),
        "the LLM's width": llm.embedding_width,
    }
    try:
        text = llm.text()
    except WeightsError:  # of a folder that was moved: what it wrote cannot be known any more
        return {**facts, **dict.fromkeys(("picture's id", "end ids", "vocabulary"))}
    return {
        **facts,
        "picture's id": text.image_id,
        "end ids": sorted({text.end_id, text.turn_end_id, *text.stop_ids}),
        "vocabulary": text.vocabulary_size,
    }
