"""Facts of a recipe that no single table sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import attrs

from mmcore.interfaces import (
    PARTS,
    EncoderSpec,
    LLMSpec,
    ObjectiveSpec,
    PatchGrid,
    SourceSpec,
    TaskSpec,
    TilerSpec,
    TokenSamplerSpec,
)
from mmcore.recipe.schema import (
    BatchTable,
    DataTable,
    TrainablePart,
    ValidationTable,
    task_labels,
)
from mmcore.recipe.tree import KeyPath, Node
from mmcore_registry import Spec, nearest


@attrs.frozen
class Remark:
    """A fault and the key path that it is about."""

    path: KeyPath
    message: str
    hint: str = ""


class Facts:
    """What is known of a recipe; parts of it may be missing, since they are faulty themselves.

    Args:
        root: the recipe as it was written.
        values: everything in it that could be read, by key path.
    """

    def __init__(self, root: Node, values: Mapping[KeyPath, object]) -> None:
        self._root, self._values = root, values

    def at(self, *path: str | int) -> object:
        """The value at ``path``, or None where it is not written or faulty."""
        return self._values.get(path)

    def below(self, *above: str | int) -> Iterator[tuple[KeyPath, object]]:
        """All known values under ``above``, with their paths."""
        for path, value in self._values.items():
            if path[: len(above)] == above:
                yield path, value

    @property
    def stages(self) -> list[KeyPath]:
        """Paths of the stages of which anything is known."""
        indexes = {path[1] for path in self._values if len(path) > 1 and path[0] == "stages"}
        return [("stages", index) for index in sorted(indexes, key=int)]

    @property
    def lanes(self) -> int | None:
        """The default if the `data` table is not written, None if it is faulty."""
        data = self.at("data") if self._root.child("data") else DataTable()
        return data.lanes if isinstance(data, DataTable) else None


def check(facts: Facts) -> Iterator[Remark]:
    """Everything that contradicts, in what is known."""
    yield from problems(facts, of_machine=False)
    yield from _names(facts)
    yield from _validation(facts)
    tokens_per_view, remarks = _tokens_per_view(facts)
    yield from remarks
    for stage in facts.stages:
        yield from _parts(facts, stage)
        yield from _batch(facts, stage, tokens_per_view)
        yield from _groups(facts, stage, tokens_per_view)
        yield from _pairs(facts, stage)


def problems(facts: Facts, *, of_machine: bool) -> Iterator[Remark]:
    """What the components themselves know to be wrong."""
    for path, spec in facts.below():
        for problem in spec.problems() if isinstance(spec, Spec) else ():
            below = problem.key.split(".") if problem.key else []
            if problem.machine == of_machine:
                yield Remark((*path, *below), problem.message, problem.hint)


def _names(facts: Facts) -> Iterator[Remark]:
    names = {stage: facts.at(*stage, "name") for stage in facts.stages}
    counts = Counter(name for name in names.values() if isinstance(name, str))
    for stage, name in names.items():
        if isinstance(name, str) and counts[name] > 1:
            yield Remark((*stage, "name"), f"{name!r} is the name of {counts[name]} stages")
    for path, task in facts.below("evaluations"):
        if isinstance(task, TaskSpec) and task.stage and task.stage not in counts:
            close = nearest(task.stage, counts)
            hint = f"did you mean {close!r}?" if close else f"stages: {', '.join(counts)}"
            yield Remark((*path, "stage"), f"no stage is called {task.stage!r}", hint)


def _validation(facts: Facts) -> Iterator[Remark]:
    table = facts.at("validation")
    if not isinstance(table, ValidationTable):
        return
    tasks = [task for _, task in facts.below("evaluations") if isinstance(task, TaskSpec)]
    known = [label for label, _ in task_labels(tasks)]
    for name in table.tasks:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close!r}?" if close else f"evaluations: {', '.join(known)}"
            yield Remark(("validation", "tasks"), f"no evaluation is called {name!r}", hint)
    if table.tasks and getattr(facts.at("engine"), "zero", 0) == 3:
        message = (
            "cannot be asked where ranks share out the weights (engine.zero = 3): each would "
            "answer by itself"
        )
        hint = "leave validation.tasks empty, or train with engine.zero = 2"
        yield Remark(("validation", "tasks"), message, hint)


def _tokens_per_view(facts: Facts) -> tuple[int | None, list[Remark]]:
    encoder, sampler = facts.at("model", "encoder"), facts.at("model", "token_sampler")
    if not isinstance(encoder, EncoderSpec) or not isinstance(sampler, TokenSamplerSpec):
        return None, []
    grid = encoder.view.grid
    try:
        return sampler.tokens_per_view(grid), []
    except ValueError as error:
        message = f"does not fit the encoder's views of {grid} patches: {error}"
        return None, [Remark(("model", "token_sampler"), message)]


def _parts(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    trained = [
        (path, part)
        for path, part in facts.below(*stage, "train")
        if isinstance(part, TrainablePart)
    ]
    counts = Counter(part.part for _, part in trained)
    for path, part in trained:
        if part.part not in PARTS:
            close = nearest(part.part, PARTS)
            hint = f"did you mean {close!r}?" if close else ""
            wanted = ", ".join(repr(one) for one in PARTS)
            yield Remark(path, f"is {part.part!r}, wanted one of {wanted}", hint)
        elif counts[part.part] > 1:
            yield Remark(path, f"{part.part!r} is named {counts[part.part]} times")
    if facts.at(*stage, "train") == ():
        yield Remark((*stage, "train"), f"names no part: wanted at least one of {', '.join(PARTS)}")


def _batch(facts: Facts, stage: KeyPath, tokens_per_view: int | None) -> Iterator[Remark]:
    batch = facts.at(*stage, "batch")
    if not isinstance(batch, BatchTable):
        return
    lanes = facts.lanes
    if lanes is not None and batch.packs_per_step % lanes:
        message = f"is {batch.packs_per_step}, wanted a multiple of data.lanes = {lanes}"
        up = -(-batch.packs_per_step // lanes) * lanes
        yield Remark((*stage, "batch", "packs_per_step"), message, f"{up} would do")
    llm = facts.at("model", "llm")
    if isinstance(llm, LLMSpec) and batch.max_tokens > llm.context:
        message = f"is {batch.max_tokens}, the LLM reads at most {llm.context} tokens"
        yield Remark((*stage, "batch", "max_tokens"), message)
    if tokens_per_view is None:
        return
    if tokens_per_view >= batch.max_tokens:
        message = (
            f"is {batch.max_tokens}: one view takes {tokens_per_view} tokens, which leaves no "
            "room for text"
        )
        yield Remark((*stage, "batch", "max_tokens"), message)
    else:
        yield from _largest_grid(facts, stage, batch, tokens_per_view)


def _largest_grid(
    facts: Facts, stage: KeyPath, batch: BatchTable, tokens_per_view: int
) -> Iterator[Remark]:
    """A grid that no pack has room for would be shrunk or rejected whenever it is chosen."""
    tiler = facts.at(*stage, "tiler")
    if not isinstance(tiler, TilerSpec):
        return
    views, max_tokens = min(tiler.max_groups, batch.max_views), batch.max_tokens
    if views * tokens_per_view >= max_tokens:
        message = (
            f"cuts a picture into up to {views} views: {views} views x {tokens_per_view} tokens = "
            f"{views * tokens_per_view}, and 1 of text at least, is more than a pack's max_tokens "
            f"= {max_tokens}"
        )
        most = (max_tokens - 1) // tokens_per_view
        hint = f"at most {most} views would fit, or fewer tokens per view, or a larger pack"
        llm = facts.at("model", "llm")
        if isinstance(llm, LLMSpec):
            hint += f" (the LLM reads {llm.context})"
        yield Remark((*stage, "tiler"), message, hint)


def _groups(facts: Facts, stage: KeyPath, tokens_per_view: int | None) -> Iterator[Remark]:
    """A tiler that gives the token sampler more than a view at a time needs one that makes
    equally many tokens of it."""
    tiler = facts.at(*stage, "tiler")
    encoder, sampler = facts.at("model", "encoder"), facts.at("model", "token_sampler")
    if tokens_per_view is None or not (
        isinstance(tiler, TilerSpec)
        and isinstance(encoder, EncoderSpec)
        and isinstance(sampler, TokenSamplerSpec)
    ):
        return
    if tiler.regroups and sampler.needs_grid:
        message = (
            f"{tiler.name!r} gives the token sampler patches that are not those of one view; "
            f"{sampler.name!r} must know where in its view a patch is"
        )
        hint = 'let every view be sampled by itself: merge = "tiles"'
        yield Remark((*stage, "tiler"), message, hint if hasattr(tiler, "merge") else "")
        return
    for patches in sorted(tiler.group_sizes(encoder.view)):
        if patches == encoder.view.patches:
            continue
        try:
            made = sampler.tokens_per_view(PatchGrid(1, patches))
        except ValueError as error:
            made, why = -1, str(error)
        else:
            why = f"makes {made} tokens of them"
        if made != tokens_per_view:
            message = (
                f"{tiler.name!r} gives the token sampler {patches} patches at once; "
                f"{sampler.name!r} {why}, wanted {tokens_per_view} as of a view"
            )
            yield Remark((*stage, "tiler"), message)
            return


def _pairs(facts: Facts, stage: KeyPath) -> Iterator[Remark]:
    """Preference pairs need an objective that reads them, and it needs pairs."""
    if facts.at(*stage, "data") is None or facts.at(*stage, "objectives") is None:
        return  # not all of them are known
    below = dict(facts.below(*stage))
    reading = {
        path: one
        for path, one in below.items()
        if isinstance(one, ObjectiveSpec) and one.reads_pairs
    }
    giving = {
        path: one for path, one in below.items() if isinstance(one, SourceSpec) and one.gives_pairs
    }
    if giving and not reading:
        for path, source in giving.items():
            message = f"{source.name!r} gives preference pairs, and no objective reads them"
            hint = "name an objective that reads pairs"
            if hasattr(source, "learn"):
                hint += ', or let the preferred answers be learned as they are: learn = "preferred"'
            yield Remark((*path, "use"), message, hint)
    for path, objective in reading.items() if not giving else ():
        message = f"{objective.name!r} learns from preference pairs, and no source gives any"
        yield Remark((*path, "use"), message)
