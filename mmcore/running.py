"""A whole run: its stages one after another, the model questioned before, between and after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch

from mmcore import assemble, rollbacks
from mmcore.adapters import check_adapters
from mmcore.data.epochs import count_rows
from mmcore.data.largest import largest_pack
from mmcore.data.loader import PackLoader
from mmcore.data.prepare import Preparer
from mmcore.evaluation import records
from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.asking import ask
from mmcore.incident_log import IncidentLog
from mmcore.interfaces import (
    Engine,
    Evaluation,
    Incident,
    PackedBatch,
    RunInfo,
    StageInfo,
    Tracker,
    World,
)
from mmcore.making_up import make_up
from mmcore.model.trainable import PartSize
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import Recipe, Stage, labels, task_labels, to_toml
from mmcore.rejected_log import RejectedLog
from mmcore.run_folder import (
    CHECKPOINTS,
    STAGE_FILE,
    Resume,
    locked,
    prepare,
    write_environment,
    write_whole,
)
from mmcore.stage_measures import measured
from mmcore.stage_validation import BestKeeper, ValidationLog, stage_validation
from mmcore.starting import RunError, Span, began, begun, model_from, span
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint, CheckpointError
from mmcore.training.checkpoint_write import Keeping
from mmcore.training.discarding import DiscardingLoader, data_number
from mmcore.training.early_stop import EarlyStop
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Budget, Progress
from mmcore.training.ranks import barrier, distributed, gather_objects, world_from_environment
from mmcore.training.saving import Saver
from mmcore.training.spikes import RollBack, SpikeGuard
from mmcore.training.stage import StageRun
from mmcore.training.stalls import watched
from mmcore.training.stopping import StopRequest, stop_on_signal


class AuditError(ValueError):
    """The first samples of a stage are not what they should be."""


SHOWN_FAULTS = 10


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
    stage: str | None = None,
    until: str | None = None,
    begin_from: str | Path | None = None,
    max_steps: int | None = None,
    listeners: Iterable[Tracker] = (),
    root: str | Path = "runs",
) -> RunResult:
    """Train a recipe, or go on with it, in this process or, under a launcher, in many.

    Args:
        recipe: checked.
        resume: "auto" goes on where the folder ends; "never" starts anew and keeps the old
            folder aside.
        stage: name of the only stage to train; the one before it must be finished.
        until: name of the stage after which to stop; None means the last one.
        begin_from: a run folder, checkpoint or model folder whose weights ``stage`` (by default
            the first) begins from, instead of those of the stage before.
        max_steps: stop, as if a signal had asked for it, after so many steps from here.
        listeners: trackers beside those that the recipe names.
        root: where run folders lie.

    Raises:
        RunError, RunFolderError, LoraError: it cannot be started like this.
        CheckpointError, WeightsError: what it should start from is missing or damaged.
        DataFault, TooManyRejectedError, DivergedError: it must not go on.
    """
    weights = None if begin_from is None else Path(begin_from)
    world = world_from_environment()
    check_processes(recipe, world.size)
    check_adapters(recipe)
    folder = Path(root) / recipe.name
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signal(after=max_steps))
        stack.enter_context(distributed(world))
        if world.is_main:
            stack.enter_context(locked(folder))
            done = _progress(folder) if resume == "auto" else None
            asked = span(recipe, done, stage=stage, until=until, weights=weights)
            prepare(folder, to_toml(recipe), resume, begun=begun(done))
            write_environment(
                folder,
                world.size,
                world.device,
                after_step=done.step if done else 0,
                began=began(recipe, asked, done),
            )
        barrier()
        wanted = span(recipe, _progress(folder), stage=stage, until=until, weights=weights)
        listeners = tuple(listeners)
        while True:
            try:
                finished = _life(recipe, folder, world, stop, wanted, listeners)
                break
            except RollBack as back:
                _leave_out(folder, world, back)
    return RunResult(
        folder=folder,
        stages=tuple(stage.name for stage in recipe.stages),
        evaluations=tuple(records.read(folder)),
        finished=finished,
        is_main=world.is_main,
    )


def _life(
    recipe: Recipe,
    folder: Path,
    world: World,
    stop: StopRequest,
    wanted: Span,
    listeners: Sequence[Tracker],
) -> bool:
    """Go on from the folder's newest checkpoint; False where the run was asked to stop.

    Raises:
        RollBack: there is to be another life, from the newest checkpoint again.
    """
    start = _start(folder)
    info = RunInfo(recipe.name, folder, start.progress.step if start else 0, to_toml(recipe))
    trackers = [spec.build(info) for spec in recipe.trackers] if world.is_main else []
    kept = [RejectedLog(folder), IncidentLog(folder), ValidationLog(folder), BestKeeper(folder)]
    hooks = Hooks([*kept, *trackers, *listeners], world)
    hooks.run_start(info)
    try:
        if start is not None:
            hooks.activity(f"checking every file of {start.path}")
            _verify(start, world)
        finished = _Run(recipe, folder, world, hooks, stop, wanted).go(start)
    except RollBack as back:
        step = start.progress.step if (start := _start(folder)) else 0
        words = f"{back}; the run goes on after step {step}"
        hooks.incident(Incident(step=step, kind="rolled-back", detail=words))
        hooks.run_end("stopped")
        raise
    except BaseException:
        hooks.run_end("failed")
        raise
    hooks.run_end("finished" if finished else "stopped")
    return finished


def _verify(start: Checkpoint, world: World) -> None:
    """Every rank its share of the files.

    Raises:
        CheckpointError: on all ranks, where one found a file that was altered.
    """
    fault = ""
    try:
        start.verify(world.rank, world.size)
    except (CheckpointError, OSError) as error:
        fault = str(error)
    faults = [one for one in gather_objects(fault) if one]
    if faults:
        raise CheckpointError("; ".join(faults))


def _leave_out(folder: Path, world: World, back: RollBack) -> None:
    """Write down which data the next life leaves out: what was learned from before the checkpoint
    stays as it is."""
    if world.is_main:
        start = _start(folder)
        within = start is not None and not start.progress.finished
        learned = start.progress.stage_step if start is not None and within else 0
        left_out = rollbacks.numbers(rollbacks.read(folder), back.stage)
        first, last = (
            data_number(step, left_out) for step in (max(back.first, learned + 1), back.last)
        )
        rollbacks.append(folder, RollBack(back.stage, first, last))
    barrier()


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


class _Run:
    """The stages of one run, with what they share."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        world: World,
        hooks: Hooks,
        stop: StopRequest,
        wanted: Span,
    ) -> None:
        self._recipe = recipe
        self._folder = folder
        self._world = world
        self._hooks = hooks
        self._stop = stop
        self._wanted = wanted
        self._text = recipe.model.llm.text()
        self._rollbacks = rollbacks.read(folder)

    @property
    def _device(self) -> torch.device:
        return torch.device(self._world.device)

    def go(self, start: Checkpoint | None) -> bool:
        """Train the stages that are wanted; False where it was asked to stop before."""
        stages, last = self._recipe.stages, self._wanted.last
        progress = start.progress if start else Progress().in_stage(0, stages[0].name)
        if start is None or self._wanted.begins_anew(progress):
            number = self._wanted.first or 0
            progress = progress.in_stage(number, stages[number].name)
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
        start = self._start()
        goes_on = progress.stage_step > 0
        model = self._model(start, stage)
        prepared = assemble.preparer(self._recipe.model, stage, self._text)
        learning = assemble.learning(self._recipe, stage, model, self._world)
        if start is not None and goes_on:
            learning.engine.restore(start.states())
        largest = self._largest(prepared)
        if self._world.is_main:
            summary = (*map(_learns, learning.parts), *self._audit(stage, prepared))
            number, stages = progress.stage_index + 1, len(self._recipe.stages)
            self._hooks.stage_start(StageInfo(stage.name, number, stages, summary))
        loader = assemble.pack_loader(
            self._recipe, stage, prepared, self._world, start.lanes if start and goes_on else None
        )
        validation = None
        if self._recipe.validation is not None:
            validation = stage_validation(
                self._recipe, stage, prepared, model, self._world, self._folder
            )
        discarded = rollbacks.numbers(self._rollbacks, stage.name)
        saver = self._saver(stage, learning.engine, loader)
        guards = self._recipe.guards
        try:
            with watched(
                self._folder,
                self._world,
                stage=stage.name,
                seconds=guards.stall_seconds,
                holds=loader.busy,
            ):
                progress = train_stage(
                    StageRun(
                        name=stage.name,
                        engine=learning.engine,
                        objectives=learning.objectives,
                        objective_names=[spec.name for spec in stage.objectives],
                        weights=[spec.weight for spec in stage.objectives],
                        loader=DiscardingLoader(loader, discarded, progress.stage_step),
                        optimizer=stage.optimizer,
                        budget=budget_of(stage),
                        seed=self._recipe.seed,
                        max_rejected_share=self._recipe.data.max_rejected_share,
                        max_skipped_in_a_row=guards.max_skipped_in_a_row,
                        early_stop=_early_stop(stage),
                        spikes=self._spikes(),
                        module=learning.module,
                        measured=measured(self._recipe, stage, self._device),
                        validation=validation,
                        largest=largest,
                    ),
                    progress,
                    world=self._world,
                    hooks=self._hooks,
                    save=saver.save,
                    every_steps=self._recipe.checkpoints.every_steps,
                    stop=self._stop,
                    look=saver.look,
                )
        finally:
            loader.close()
            learning.engine.close()
        if progress.finished and self._world.is_main:
            self._tell_end(progress)
        return progress

    def _saver(self, stage: Stage, engine: Engine, loader: PackLoader) -> Saver:
        table = self._recipe.checkpoints
        return Saver(
            self._folder / CHECKPOINTS,
            engine=engine,
            lanes=loader.state,
            world=self._world,
            keeping=Keeping(last=table.keep_last, every=table.keep_every),
            keep_stages=table.keep_stages,
            background=table.background,
            loras=assemble.loras_of(stage),
            saved=self._hooks.checkpoint_saved,
        )

    def _spikes(self) -> SpikeGuard:
        guards = self._recipe.guards
        return SpikeGuard(
            deviations=guards.spike,
            rollbacks=max(0, guards.rollbacks - len(self._rollbacks)),
            margin=guards.rollback_margin,
        )

    def _largest(self, prepared: Preparer) -> PackedBatch | None:
        wanted = self._recipe.guards.largest_pack
        if wanted == "never" or (wanted == "auto" and self._device.type != "cuda"):
            return None
        pack = largest_pack(prepared)
        self._hooks.activity(
            f"trying the largest pack: {len(pack.input_ids_T)} tokens, "
            f"{len(pack.pixels_NCHW)} views; nothing is learned from it"
        )
        return pack

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

    def _start(self) -> Checkpoint | None:
        """The newest checkpoint, unless weights were named to begin from, and it is of before."""
        start = _start(self._folder)
        anew = start is not None and self._wanted.begins_anew(start.progress)
        return None if anew else start

    def _model(self, start: Checkpoint | None, stage: Stage | None = None) -> VisionLanguageModel:
        """To be questioned, or, with ``stage``, to be trained in it."""
        if start is None and self._wanted.weights is not None:
            return model_from(self._wanted.weights, self._recipe, self._device, stage)
        if start is None:
            return assemble.build_model(self._recipe, self._device)[0]
        return assemble.model_of_checkpoint(self._recipe, start.path, self._device, stage)

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
        model = self._model(self._start())
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


def _learns(part: PartSize) -> str:
    learns = f"{part.trainable:,} learn" if part.trainable else "frozen"
    return f"{part.part}: {part.parameters:,} parameters, {learns}"


def _progress(folder: Path) -> Progress | None:
    start = _start(folder)
    return None if start is None else start.progress


def _early_stop(stage: Stage) -> EarlyStop | None:
    table = stage.early_stop
    return None if table is None else EarlyStop(**attrs.asdict(table))


def _start(folder: Path) -> Checkpoint | None:
    newest = checkpoint.latest(folder / CHECKPOINTS)
    return None if newest is None else checkpoint.load(newest)


def budget_of(stage: Stage) -> Budget:
    """How long the stage lasts; of epochs, the rows of its sources are counted."""
    if stage.epochs is not None:
        rows = {label: count_rows(spec) for label, spec in labels(stage)}
        return Budget(epochs=stage.epochs, rows=rows)
    return Budget(tokens=stage.tokens, steps=stage.steps)
