"""The stages of a run one after another, the model questioned before, between and after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs
import torch

from mmcore import assemble
from mmcore.data.epochs import count_rows
from mmcore.data.lane_state import LaneState
from mmcore.data.largest import largest_pack
from mmcore.data.loader import PackLoader
from mmcore.data.prepare import Preparer
from mmcore.evaluation import records
from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.asking import ask
from mmcore.frozen import frozen_models
from mmcore.interfaces import (
    Engine,
    Evaluation,
    PackedBatch,
    StageInfo,
    World,
)
from mmcore.model.initial import Initial
from mmcore.model.trainable import PartSize
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import Recipe, Stage, feature_folders, labels, task_labels
from mmcore.run_folder import rollbacks
from mmcore.run_folder.folder import (
    CHECKPOINTS,
    STAGE_FILE,
    write_whole,
)
from mmcore.running.making_up import make_up
from mmcore.running.stage_features import check_values, told, with_this_encoder
from mmcore.running.stage_measures import measured
from mmcore.running.stage_validation import stage_validation
from mmcore.running.starting import Span, initial_from
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_write import Keeping
from mmcore.training.discarding import DiscardingLoader
from mmcore.training.early_stop import EarlyStop
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Budget, Progress
from mmcore.training.ranks import barrier, from_main
from mmcore.training.saving import Saver
from mmcore.training.spikes import SpikeGuard
from mmcore.training.stage import StageRun
from mmcore.training.stalls import watched
from mmcore.training.stopping import StopRequest
from mmcore.training.validation import Validation


class AuditError(ValueError):
    """The first samples of a stage are not what they should be."""


SHOWN_FAULTS = 10


class Stages:
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
        self._checked: set[str] = set()  # stages whose features are of the encoder's weights
        self._rollbacks = from_main(lambda: rollbacks.read(folder))

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
        first = progress.stage_index + (1 if progress.finished else 0)
        self._check_features(with_this_encoder(stages[first : last + 1]))
        if progress.stage_step == 0 or progress.finished:
            self._evaluate(progress)
        for number in range(first, last + 1):
            if number > progress.stage_index:
                progress = progress.in_stage(number, stages[number].name)
            progress = self._train(stages[number], progress)
            if not progress.finished:
                return False
            self._evaluate(progress)
        return True

    def _train(self, stage: Stage, progress: Progress) -> Progress:
        self._check_features([stage])
        self._make_up(stage)
        prepared = assemble.training_preparer(self._recipe.model, stage, self._text)
        audited = from_main(lambda: self._audit(stage, prepared))
        with ExitStack() as closing:
            learning, model, lanes = self._started(stage, goes_on=progress.stage_step > 0)
            closing.callback(learning.engine.close)
            largest = self._largest(prepared)
            parts = map(_learns, learning.parts)
            self._tell_start(progress, (*parts, *told(prepared), *audited))
            loader = assemble.pack_loader(self._recipe, stage, prepared, self._world, lanes)
            closing.callback(loader.close)
            validation = None
            if self._recipe.validation is not None:
                validation = stage_validation(
                    self._recipe, stage, prepared, model, self._world, self._folder
                )
            run = self._stage_run(stage, progress, learning, loader, validation, largest)
            saver = self._saver(stage, learning.engine, loader)
            with watched(
                self._folder,
                self._world,
                stage=stage.name,
                seconds=self._recipe.guards.stall_seconds,
                holds=loader.busy,
            ):
                progress = train_stage(
                    run,
                    progress,
                    world=self._world,
                    hooks=self._hooks,
                    save=saver.save,
                    every_steps=self._recipe.checkpoints.every_steps,
                    stop=self._stop,
                    look=saver.look,
                )
        if progress.finished and self._world.is_main:
            self._tell_end(progress)
        return progress

    def _check_features(self, stages: Iterable[Stage]) -> None:
        """On one rank, for all: whether stages with one encoder are given that encoder's features.

        Raises:
            FeaturesError: they are not.
        """
        ahead = [one for one in stages if feature_folders(one) and one.name not in self._checked]
        if not ahead:
            return
        self._hooks.activity("comparing the features of pictures with the encoder's weights")
        start = self._start()
        with ExitStack() as files:
            initial = self._initial(start, None, files)
            from_main(lambda: check_values(self._recipe, ahead, initial))
        self._checked |= {one.name for one in ahead}

    def _started(
        self, stage: Stage, *, goes_on: bool
    ) -> tuple[assemble.Learning, VisionLanguageModel, Mapping[int, LaneState] | None]:
        """What takes the stage's steps, its model, and the place in the data to go on from.

        What the values were made of ends here: parts may hold whole copies of theirs.
        """
        start = self._start()
        going_on = start if goes_on else None
        with ExitStack() as files:
            initial = self._initial(start, stage, files)
            states = None if going_on is None else going_on.states()
            frozen = frozen_models(self._recipe, stage, self._device)
            learning = assemble.started(self._recipe, stage, initial, self._world, states, frozen)
        return learning, initial.model, None if going_on is None else going_on.lanes

    def _stage_run(
        self,
        stage: Stage,
        progress: Progress,
        learning: assemble.Learning,
        loader: PackLoader,
        validation: Validation | None,
        largest: PackedBatch | None,
    ) -> StageRun:
        discarded = rollbacks.numbers(self._rollbacks, stage.name)
        return StageRun(
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
            max_skipped_in_a_row=self._recipe.guards.max_skipped_in_a_row,
            early_stop=_early_stop(stage),
            spikes=self._spikes(),
            module=learning.module,
            measured=measured(self._recipe, stage, self._device),
            validation=validation,
            largest=largest,
        )

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
            f"{pack.views} views; nothing is learned from it"
        )
        return pack

    def _tell_start(self, progress: Progress, summary: tuple[str, ...]) -> None:
        if self._world.is_main:
            number, stages = progress.stage_index + 1, len(self._recipe.stages)
            self._hooks.stage_start(StageInfo(progress.stage, number, stages, summary))

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
        start = from_main(lambda: newest(self._folder))
        anew = start is not None and self._wanted.begins_anew(start.progress)
        return None if anew else start

    def _initial(self, start: Checkpoint | None, stage: Stage | None, files: ExitStack) -> Initial:
        """The model to be questioned, or, with ``stage``, to be trained in it."""
        if start is None and self._wanted.weights is not None:
            return initial_from(self._wanted.weights, self._recipe, self._device, stage, files)
        if start is None:
            return assemble.initial_model(self._recipe.model, self._recipe.seed, self._device)
        return assemble.initial_of_checkpoint(self._recipe, start.path, self._device, stage)

    def _audit(self, stage: Stage, prepared: Preparer) -> list[str]:
        """Look at the first samples before the stage's model is made; the findings in lines.

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
        done = from_main(lambda: records.read(self._folder))
        waiting = [
            (label, spec)
            for label, spec in task_labels(self._recipe.evaluations)
            if not records.asked_already(done, label, after)
        ]
        if not waiting:
            return
        self._make_up(self._recipe.evaluations)
        with ExitStack() as files:
            model = self._initial(self._start(), None, files).filled(self._device)
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


def _early_stop(stage: Stage) -> EarlyStop | None:
    table = stage.early_stop
    return None if table is None else EarlyStop(**attrs.asdict(table))


def newest(folder: Path) -> Checkpoint | None:
    """The checkpoint that a run in this folder goes on from, as this process sees it."""
    path = checkpoint.latest(folder / CHECKPOINTS)
    return None if path is None else checkpoint.load(path)


def budget_of(stage: Stage) -> Budget:
    """How long the stage lasts; of epochs, the rows of its sources are counted."""
    if stage.epochs is not None:
        rows = {label: count_rows(spec) for label, spec in labels(stage)}
        return Budget(epochs=stage.epochs, rows=rows)
    return Budget(tokens=stage.tokens, steps=stage.steps)
