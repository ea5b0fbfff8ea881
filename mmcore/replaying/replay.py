"""Find where a run was before one of its steps, and make its steps again from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import attrs
import torch

from mmcore import assemble, rollbacks
from mmcore.data.collate import blank_batch
from mmcore.interfaces import EngineSpec, StepReport, World
from mmcore.making_up import make_up
from mmcore.model.initial import Initial
from mmcore.recipe import Recipe, Stage, load_recipe
from mmcore.replaying.in_turn import InTurn
from mmcore.replaying.results import RecordedStep, Replay, ReplayError
from mmcore.replaying.scene import Outcome, Scene
from mmcore.run_folder import CHECKPOINTS, RECIPE
from mmcore.run_history import NEVER, Recorded, RunHistory
from mmcore.specs import spec
from mmcore.stages import budget_of
from mmcore.starting import initial_from
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_write import NAME
from mmcore.training.discarding import DiscardingLoader
from mmcore.training.module_norms import ModuleNorms
from mmcore.training.progress import Progress
from mmcore.training.ranks import this_device
from mmcore.training.spikes import by_source
from mmcore.training.stage import StageRun


def replay(
    folder: Path,
    step: int,
    *,
    device: str | None = None,
    ranks: int | None = None,
    before_rollback: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Make a step of a run again; nothing in its folder is changed.

    It begins at the nearest checkpoint before the step and makes the steps in between. On one
    process with fp32 and as many threads the losses are the run's bit for bit; those of several
    processes differ by the order of sums.

    Args:
        folder: of the run.
        step: number of the step within the run, from 1.
        device: by default the first GPU, else the CPU.
        ranks: processes of the run; by default those that it last had.
        before_rollback: with the data that the run's last roll-back left out.
        say: told what is done.

    Raises:
        ReplayError: there is no such step.
        CheckpointError: the checkpoint before it is damaged.
    """
    if not (folder / RECIPE).is_file():
        raise ReplayError(f"{folder} is no run folder: it has no {RECIPE}")
    if step < 1:
        raise ReplayError(f"step is {step}, wanted 1 or more")
    where = _device(device)
    recipe = _here(load_recipe(folder / RECIPE), where)
    history = RunHistory(folder, recipe)
    _check_made(step, history.steps)
    start = nearest(folder / CHECKPOINTS, step)
    if start is not None:
        say(f"checking every file of {start.path}")
        start.verify()
    entries = rollbacks.read(folder)
    replayer = _Replayer(
        recipe,
        where,
        history,
        ranks or history.ranks(step),
        entries[: len(entries) - before_rollback],
        say,
    )
    # What is recorded of these steps is how they were made the second time.
    return replayer.go(start, step, {} if before_rollback else history.steps)


def nearest(root: Path, step: int) -> Checkpoint | None:
    """The newest complete checkpoint of a step before this one; None if there is none."""
    found = [NAME.fullmatch(one.name) for one in root.iterdir()] if root.exists() else []
    earlier = [
        (int(name[1]), int((name[2] or ".0")[1:]), name[0])
        for name in found
        if name is not None and int(name[1]) < step
    ]
    return checkpoint.load(root / max(earlier)[2]) if earlier else None


def _here(recipe: Recipe, device: torch.device) -> Recipe:
    """With the engine for one process, and attention that this device has."""
    engine = cast(EngineSpec, spec("engine", "torch", precision=recipe.engine.precision))
    on_cpu = device.type == "cpu" and recipe.model.attention == "xformers"
    model = attrs.evolve(recipe.model, attention="sdpa") if on_cpu else recipe.model
    return attrs.evolve(recipe, engine=engine, model=model)


def _device(name: str | None) -> torch.device:
    """
    Raises:
        ReplayError: this machine has no such device.
    """
    try:
        device = torch.device(name or this_device())
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the second where torch has no CUDA
        raise ReplayError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0]}"
        ) from None
    return device


def _check_made(step: int, recorded: Mapping[int, Recorded]) -> None:
    """A step that was begun and never recorded may be what killed the run.

    Raises:
        ReplayError: the run has not come so far.
    """
    last = max(recorded, default=None)
    if last is not None and step > last + 1:
        raise ReplayError(f"step is {step}, and the run has made {last} steps")


class _Replayer:
    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        history: RunHistory,
        ranks: int,
        left_out: Sequence[rollbacks.Discarded],
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._device, self._ranks = recipe, device, ranks
        self._history = history
        self._left_out, self._say = list(left_out), say
        self._text = recipe.model.llm.text()

    def go(
        self,
        start: Checkpoint | None,
        step: int,
        recorded: Mapping[int, Recorded],
    ) -> Replay:
        before: list[RecordedStep] = []
        here, progress = start, self._first(start, step)
        with TemporaryDirectory() as folder:
            while True:
                stage = self._recipe.stages[progress.stage_index]
                with ExitStack() as stack:
                    initial = self._initial(here, stage, progress, stack)
                    begun = here if progress.stage_step else None
                    scene = self._scene(stack, stage, initial, progress, begun)
                    missing = min(step - 1, self._history.end(stage.name)) - progress.step
                    if missing:
                        words = (
                            f"making steps {progress.step + 1} to {progress.step + missing} again"
                        )
                        self._say(words)
                        progress = scene.train(progress, missing)
                        before += [_beside(one, recorded) for one in scene.reports]
                    over = progress.finished or progress.step >= self._history.end(stage.name)
                    if not over:
                        outcome = scene.watch(progress)
                        return self._told(outcome, start, before, recorded.get(step, {}))
                    progress = attrs.evolve(progress, finished=True)
                    here = scene.saved(Path(folder), progress, assemble.loras_of(stage))
                progress = self._first(here, step)

    def _first(self, start: Checkpoint | None, step: int) -> Progress:
        """Where training goes on after a checkpoint; None is the beginning of the run.

        Raises:
            ReplayError: the run is over there.
        """
        stages = self._recipe.stages
        if start is None:
            number = self._history.first(step)
            return Progress().in_stage(number, stages[number].name)
        progress = start.progress
        if not progress.finished:
            return progress
        number = progress.stage_index + 1
        if number >= len(stages):
            raise ReplayError(
                f"the run ends with step {progress.step}, and step {step} was asked for"
            )
        return progress.in_stage(number, stages[number].name)

    def _initial(
        self, here: Checkpoint | None, stage: Stage, progress: Progress, files: ExitStack
    ) -> Initial:
        """What the run had at this place: as it goes on with a stage, or begins one."""
        weights = None if progress.stage_step else self._history.weights(stage.name)
        if weights is not None:
            return initial_from(weights, self._recipe, self._device, stage, files)
        if here is None:
            return assemble.initial_model(self._recipe.model, self._recipe.seed, self._device)
        return assemble.initial_of_checkpoint(self._recipe, here.path, self._device, stage)

    def _scene(
        self,
        stack: ExitStack,
        stage: Stage,
        initial: Initial,
        progress: Progress,
        begun: Checkpoint | None,
    ) -> Scene:
        """A stage ready to go on; ``begun`` where it is the checkpoint's own."""
        make_up(stage, self._say)
        prepared = assemble.preparer(self._recipe.model, stage, self._text)
        learning = assemble.started(
            self._recipe,
            stage,
            initial,
            World(device=str(self._device)),
            begun.states() if begun is not None else None,
        )
        stack.callback(learning.engine.close)
        lanes = begun.lanes if begun is not None else None
        loader = assemble.pack_loader(self._recipe, stage, prepared, World(), lanes)
        stack.callback(loader.close)
        numbers = rollbacks.numbers(self._left_out, stage.name)
        discarding = DiscardingLoader(loader, numbers, progress.stage_step)
        blank = blank_batch(prepared.view, prepared.text)
        in_turn = InTurn(
            discarding, learning.engine, self._ranks, self._recipe, blank, progress.step
        )
        run = StageRun(
            name=stage.name,
            engine=in_turn,
            objectives=learning.objectives,
            objective_names=[one.name for one in stage.objectives],
            weights=[one.weight for one in stage.objectives],
            loader=in_turn,
            optimizer=stage.optimizer,
            budget=budget_of(stage),
            seed=self._recipe.seed,
            max_rejected_share=1.0,
            max_skipped_in_a_row=NEVER,
            module=learning.module,
        )
        return Scene(run, in_turn, ModuleNorms(learning.module, initial.model))

    def _told(
        self,
        outcome: Outcome,
        start: Checkpoint | None,
        before: Sequence[RecordedStep],
        recorded: Recorded,
    ) -> Replay:
        report = outcome.report
        return Replay(
            step=report.step,
            stage=report.stage,
            stage_step=report.stage_step,
            start=str(start.path) if start else None,
            ranks=self._ranks,
            before=before,
            loss=report.values["loss"],
            grad_norm=report.values["grad_norm"],
            recorded=recorded,
            sources=by_source([one for pack in outcome.packs for one in pack.samples]),
            packs=outcome.packs,
            modules=outcome.modules,
        )


def _beside(report: StepReport, recorded: Mapping[int, Recorded]) -> RecordedStep:
    then = recorded.get(report.step, {}).get("loss")
    return RecordedStep(step=report.step, loss=report.values["loss"], recorded=then)
