"""A whole run: its stages one after another, the model questioned before, between and after."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch

from mmcore import __version__, assemble
from mmcore.data.epochs import count_rows
from mmcore.data.prepare import Preparer
from mmcore.evaluation import records
from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.asking import ask
from mmcore.interfaces import Evaluation, RunInfo, SourceSpec, StageInfo, TaskSpec, Tracker, World
from mmcore.model.initial import Initial
from mmcore.model.trainable import PartSize
from mmcore.recipe import Recipe, Stage, labels, to_toml
from mmcore.rejected_log import RejectedLog
from mmcore.run_folder import CHECKPOINTS, Resume, locked, prepare, write_environment, write_whole
from mmcore.training import checkpoint
from mmcore.training.agreement import check_agreement
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Budget, Progress
from mmcore.training.ranks import barrier, distributed, world_from_environment
from mmcore.training.stage import StageRun
from mmcore.training.stopping import StopRequest, stop_on_signal
from mmcore_registry import nearest


class RunError(ValueError):
    """The run cannot be started as it was asked for."""


class AuditError(ValueError):
    """The first samples of a stage are not what they should be."""


SHOWN_FAULTS = 10

STAGE_FILE = "stage-{}.json"
"""What a finished stage was trained on: its progress, in the run folder."""


@attrs.frozen
class RunResult:
    """How a run ended.

    Attributes:
        folder: the run folder.
        stages: names of all stages of the recipe.
        evaluations: all results so far, oldest first.
        finished: whether everything that was asked for is done.
        is_main: whether this is the process that speaks for the run.
    """

    folder: Path
    stages: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    finished: bool
    is_main: bool


def run(
    recipe: Recipe,
    *,
    resume: Resume = "auto",
    until: str | None = None,
    max_steps: int | None = None,
    listeners: Iterable[Tracker] = (),
    root: str | Path = "runs",
) -> RunResult:
    """Train a recipe, or go on with it, in this process or, under a launcher, in many.

    Args:
        recipe: checked.
        resume: "auto" goes on where the folder ends; "never" starts anew and keeps the old
            folder aside.
        until: name of the stage after which to stop; None means the last one.
        max_steps: stop, as if a signal had asked for it, after so many steps from here.
        listeners: trackers beside those that the recipe names.
        root: where run folders lie.

    Raises:
        RunError, RunFolderError: it cannot be started like this.
        CheckpointError, WeightsError: what it should start from is missing or damaged.
        DataFault, TooManyRejectedError, DivergedError: it must not go on.
    """
    last = _stage_number(recipe, until)
    world = world_from_environment()
    check_processes(recipe, world.size)
    folder = Path(root) / recipe.name
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signal(after=max_steps))
        stack.enter_context(distributed(world))
        text = to_toml(recipe)
        if world.is_main:
            stack.enter_context(locked(folder))
            prepare(folder, text, resume)
            write_environment(folder, world.size, world.device)
        barrier()
        start = _start(folder)
        check_agreement(_facts(folder, text, start))
        info = RunInfo(recipe.name, folder, start.progress.step if start else 0, text)
        trackers = [spec.build(info) for spec in recipe.trackers] if world.is_main else []
        hooks = Hooks([RejectedLog(folder), *trackers, *listeners], world)
        hooks.run_start(info)
        finished = False
        try:
            if start is not None and world.is_main:
                hooks.activity(f"checking every file of {start.path}")
                start.verify()
            finished = _Run(recipe, folder, world, hooks, stop).go(start, last)
        except BaseException:
            hooks.run_end("failed")
            raise
        hooks.run_end("finished" if finished else "stopped")
    return RunResult(
        folder=folder,
        stages=tuple(stage.name for stage in recipe.stages),
        evaluations=tuple(records.read(folder)),
        finished=finished,
        is_main=world.is_main,
    )


def _facts(folder: Path, text: str, start: Checkpoint | None) -> dict[str, str]:
    """What all ranks must have found alike before the first step."""
    return {
        "the version of mmcore": __version__,
        "the recipe (its hash)": hashlib.sha256(text.encode()).hexdigest()[:12],
        f"{folder}/": "there" if folder.is_dir() else "missing",
        "the checkpoint to start from": start.path.name if start else "none",
    }


def check_processes(recipe: Recipe, processes: int) -> None:
    """Whether the recipe's engine can run on so many.

    Raises:
        RunError: it cannot.
    """
    if processes > 1 and not recipe.engine.multi_process:
        raise RunError(
            f"engine {recipe.engine.name!r} runs on one process, and this run has {processes}; "
            "write --set engine.use=deepspeed"
        )


def make_up(node: object, say: Callable[[str], None] = lambda _: None) -> None:
    """Write the made-up rows of every source in ``node`` that has a ``synthetic`` table.

    What was made up before is left as it is.

    Args:
        node: a recipe, or a part of one, such as a stage.
        say: told, before rows are written, how many and where.

    Raises:
        ValueError: the folder holds something else.
    """
    for spec in sources_in(node):
        if spec.synthetic is not None:
            if not spec.folder.exists():
                say(f"making up {spec.synthetic.rows:,} rows in {spec.folder}")
            spec.synthesize(spec.folder, spec.synthetic)


def sources_in(node: object) -> Iterator[SourceSpec]:
    """Every source of a recipe or a part of it, also those in other components' tables."""
    if isinstance(node, SourceSpec):
        yield node
    elif isinstance(node, tuple | list):
        for element in node:
            yield from sources_in(element)
    elif attrs.has(kind := type(node)):
        for field in attrs.fields(kind):
            yield from sources_in(getattr(node, field.name))


class _Run:
    """The stages of one run, with what they share."""

    def __init__(
        self, recipe: Recipe, folder: Path, world: World, hooks: Hooks, stop: StopRequest
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._world = world
        self._hooks = hooks
        self._stop = stop
        self._text = recipe.model.llm.text()

    @property
    def _device(self) -> torch.device:
        return torch.device(self._world.device)

    def go(self, start: Checkpoint | None, last: int) -> bool:
        """Train up to stage number ``last``; False where it was asked to stop before."""
        stages = self._recipe.stages
        progress = start.progress if start else Progress().in_stage(0, stages[0].name)
        if progress.stage_step == 0 or progress.finished:
            self._evaluate(progress)
        first = progress.stage_index + (1 if progress.finished else 0)
        for number in range(first, last + 1):
            if number > progress.stage_index:
                progress = progress.in_stage(number, stages[number].name)
            progress = self._train(stages[number], progress)
            if not progress.finished:
                return False
            self._evaluate(progress)
        return True

    def _train(self, stage: Stage, progress: Progress) -> Progress:
        self._make_up(stage)
        start = _start(self._folder)
        goes_on = progress.stage_step > 0
        prepared = assemble.preparer(self._recipe.model, stage, self._text)
        learning = assemble.started(
            self._recipe,
            stage,
            self._initial(start),
            self._world,
            start.states() if start is not None and goes_on else None,
        )
        if self._world.is_main:
            summary = (*map(_learns, learning.parts), *self._audit(stage, prepared))
            number, stages = progress.stage_index + 1, len(self._recipe.stages)
            self._hooks.stage_start(StageInfo(stage.name, number, stages, summary))
        loader = assemble.pack_loader(
            self._recipe, stage, prepared, self._world, start.lanes if start and goes_on else None
        )
        try:
            progress = train_stage(
                StageRun(
                    name=stage.name,
                    engine=learning.engine,
                    objectives=learning.objectives,
                    objective_names=[spec.name for spec in stage.objectives],
                    weights=[spec.weight for spec in stage.objectives],
                    loader=loader,
                    optimizer=stage.optimizer,
                    budget=_budget(stage),
                    seed=self._recipe.seed,
                    max_rejected_share=self._recipe.data.max_rejected_share,
                ),
                progress,
                world=self._world,
                hooks=self._hooks,
                save=lambda now: checkpoint.save(
                    self._folder / CHECKPOINTS,
                    engine=learning.engine,
                    progress=now,
                    lanes=loader.state(),
                    world=self._world,
                    keep_last=self._recipe.checkpoints.keep_last,
                    pinned=now.finished and self._recipe.checkpoints.keep_stages,
                ),
                every_steps=self._recipe.checkpoints.every_steps,
                stop=self._stop,
            )
        finally:
            loader.close()
            learning.engine.close()
        if progress.finished and self._world.is_main:
            self._tell_end(progress)
        return progress

    def _tell_end(self, progress: Progress) -> None:
        """What the stage was trained on: to the trackers, and in a file of its own."""
        path = self._folder / STAGE_FILE.format(progress.stage)
        write_whole(path, json.dumps(progress.to_json(), indent=1) + "\n")
        number, stages = progress.stage_index + 1, len(self._recipe.stages)
        self._hooks.stage_end(StageInfo(progress.stage, number, stages, tuple(progress.lines())))

    def _make_up(self, node: object) -> None:
        """On one rank, while the others wait: they share the disk."""
        if self._world.is_main:
            make_up(node, self._hooks.activity)
        barrier()

    def _initial(self, start: Checkpoint | None) -> Initial:
        if start is None:
            return assemble.initial_model(self._recipe.model, self._recipe.seed, self._device)
        return assemble.initial_of_checkpoint(self._recipe, start.path, self._device)

    def _audit(self, stage: Stage, prepared: Preparer) -> list[str]:
        """Look at the first samples before they cost anything; the findings in lines.

        Raises:
            AuditError: training on this data would be a mistake.
        """
        found = assemble.stage_audit(self._recipe, stage, prepared)
        path = self._folder / f"audit-{stage.name}.json"
        path.write_text(found.to_json() + "\n", encoding="utf-8")
        if found.violations():
            listing = "\n".join(f"  {fault}" for fault in found.violations()[:SHOWN_FAULTS])
            raise AuditError(
                f"the first samples of stage {stage.name!r} have {len(found.violations())} faults "
                f"(all of them in {path}):\n{listing}"
            )
        return found.lines()

    def _evaluate(self, progress: Progress) -> None:
        """Ask every task that was not asked at this moment in an earlier life of the run."""
        after = progress.stage if progress.finished else ""
        done = records.read(self._folder)
        waiting = [
            (label, spec)
            for label, spec in task_labels(self._recipe.evaluations)
            if not records.asked_already(done, label, after)
        ]
        if not waiting:
            return
        self._make_up(self._recipe.evaluations)
        model = self._initial(_start(self._folder)).filled(self._device)
        stages = {stage.name: stage for stage in self._recipe.stages}
        for label, spec in waiting:
            self._hooks.activity(f"asking {label} ({spec.samples} questions at most)")
            stage = stages.get(spec.stage, self._recipe.stages[-1])
            answerer = Answerer(
                model,
                assemble.preparer(self._recipe.model, stage, self._text),
                self._device,
                self._recipe.engine.precision,
            )
            questions, outputs, scores = ask(
                answerer, spec.build(), max_new_tokens=spec.max_new_tokens, world=self._world
            )
            result = Evaluation(label, spec.stage, after, progress.step, tuple(scores))
            if self._world.is_main:
                records.append(self._folder, result, questions, outputs)
            self._hooks.evaluated(result)
        barrier()


def task_labels(specs: Sequence[TaskSpec]) -> list[tuple[str, TaskSpec]]:
    """The tasks under labels that are unique and stand for files: ``NAME``, ``NAME-2``, ..."""
    seen: Counter[str] = Counter()
    labelled = []
    for spec in specs:
        seen[spec.name] += 1
        count = seen[spec.name]
        labelled.append((spec.name if count == 1 else f"{spec.name}-{count}", spec))
    return labelled


def _learns(part: PartSize) -> str:
    learns = f"{part.trainable:,} learn" if part.trainable else "frozen"
    return f"{part.part}: {part.parameters:,} parameters, {learns}"


def _start(folder: Path) -> Checkpoint | None:
    newest = checkpoint.latest(folder / CHECKPOINTS)
    return None if newest is None else checkpoint.load(newest)


def _budget(stage: Stage) -> Budget:
    if stage.epochs is not None:
        rows = {label: count_rows(spec) for label, spec in labels(stage)}
        return Budget(epochs=stage.epochs, rows=rows)
    return Budget(tokens=stage.tokens, steps=stage.steps)


def _stage_number(recipe: Recipe, name: str | None) -> int:
    names = [stage.name for stage in recipe.stages]
    if name is None:
        return len(names) - 1
    if name not in names:
        close = nearest(name, names)
        hint = f"; did you mean {close!r}?" if close else ""
        raise RunError(f"no stage is called {name!r}{hint} (there are: {', '.join(names)})")
    return names.index(name)
