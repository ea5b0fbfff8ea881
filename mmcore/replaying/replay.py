"""Find where a run was before one of its steps, and make its steps again from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import attrs
import torch

from mmcore import assemble
from mmcore.data.collate import blank_batch
from mmcore.frozen import frozen_models
from mmcore.interfaces import METRICS, EngineSpec, StepReport, World
from mmcore.model.initial import Initial
from mmcore.recipe import Recipe, Stage, load_recipe
from mmcore.replaying.in_turn import InTurn
from mmcore.replaying.results import RecordedStep, Replay, ReplayError
from mmcore.replaying.scene import Outcome, Scene
from mmcore.run_folder import rollbacks
from mmcore.run_folder.folder import CHECKPOINTS, ENVIRONMENT, RECIPE
from mmcore.run_folder.history import NEVER, Recorded, RunHistory, Stretch
from mmcore.run_folder.rollbacks import Discarded
from mmcore.running.making_up import make_up
from mmcore.running.stages import budget_of
from mmcore.running.starting import initial_from
from mmcore.specs import spec
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
    entries = rollbacks.read(folder)
    back = _last(entries) if before_rollback else None
    left_out = entries[:-1] if back else entries
    if back is None:
        history = RunHistory(folder, recipe)
        _check_made(step, history)
    else:
        history = RunHistory(folder, recipe, until=back.time, within=back.stage)
        _check_made_before(step, history, back, left_out)
    start = nearest(folder / CHECKPOINTS, step, back.checkpoint if back else None)
    if start is not None and start.progress.step <= _begun_anew(history, step):
        start = None
    if start is not None:
        say(f"checking every file of {start.path}")
        start.verify()
    replayer = _Replayer(recipe, where, history, ranks or history.ranks(step), left_out, say)
    return replayer.go(start, step)


def nearest(root: Path, step: int, newest: str | None = None) -> Checkpoint | None:
    """The newest complete checkpoint of a step before this one; None if there is none.

    Args:
        newest: name of the last that counts, empty for none; by default all do.
    """
    if newest == "" or not root.exists():
        return None
    found = [name for one in root.iterdir() if (name := NAME.fullmatch(one.name))]
    places = {(int(name[1]), int((name[2] or ".0")[1:])): root / name[0] for name in found}
    last = max((place for place in places if places[place].name == newest), default=(step, 0))
    earlier = [place for place in places if place[0] < step and place <= last]
    return checkpoint.load(places[max(earlier)]) if earlier else None


def _begun_anew(history: RunHistory, step: int) -> int:
    """After which step, the last time before this one, a stage was begun from named weights: what
    was before it does not matter."""
    anew = [one.begins for one in history.stretches if one.weights and one.begins < step]
    return max(anew, default=0)


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


def _check_made(step: int, history: RunHistory) -> None:
    """A step that was begun and never recorded may be what killed the run.

    Raises:
        ReplayError: the run has not come so far, or what it recorded of the step is of another
            stage.
    """
    last = max(history.steps, default=None)
    if last is not None and step > last + 1:
        raise ReplayError(f"step is {step}, and the run has made {last} steps")
    owner, recorded = history.owner(step), history.steps.get(step)
    if owner is None or recorded is None:
        return
    wanted, found = step - owner.begins, recorded["stage_step"]
    if (recorded["stage"], found) != (owner.name, wanted):
        raise ReplayError(
            f"step {step} is step {found} of stage {recorded['stage']!r} in {METRICS}, and step "
            f"{wanted} of stage {owner.name!r} in {ENVIRONMENT} and the ends of stages: what the "
            "run had there is not known"
        )


def _last(entries: Sequence[Discarded]) -> Discarded:
    """
    Raises:
        ReplayError: the run never went back.
    """
    if not entries:
        raise ReplayError("the run never went back; leave out --before-rollback")
    return entries[-1]


def _check_made_before(
    step: int, history: RunHistory, back: Discarded, earlier: Sequence[Discarded]
) -> None:
    """
    Raises:
        ReplayError: the run went back before it came so far.
    """
    (begins,) = (one.begins for one in history.stretches if one.name == back.stage)
    numbers = rollbacks.numbers(earlier, back.stage)
    made = begins + back.last - sum(number <= back.last for number in numbers)
    if step > made:
        raise ReplayError(f"step is {step}, and the run went back at step {made}")


class _Replayer:
    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        history: RunHistory,
        ranks: int,
        left_out: Sequence[Discarded],
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._device, self._ranks = recipe, device, ranks
        self._history = history
        self._left_out, self._say = left_out, say
        self._text = recipe.model.llm.text()

    def go(self, start: Checkpoint | None, step: int) -> Replay:
        before: list[RecordedStep] = []
        here, at = start, start.progress.step if start else _begun_anew(self._history, step)
        weights = None if start else self._owner(at, step).weights
        origin = start.path if start else weights
        with TemporaryDirectory() as folder:
            while True:
                owner = self._owner(at, step)
                progress = _progress(here, at, owner)
                stage = self._recipe.stages[owner.stage]
                with ExitStack() as stack:
                    begun = here if progress.stage_step else None
                    initial = self._initial(here, stage, owner, stack)
                    scene = self._scene(stack, stage, initial, progress, begun)
                    progress = self._made(scene, progress, min(step - 1, owner.ends))
                    before += [_beside(one, self._history.steps) for one in scene.reports]
                    if step <= owner.ends:
                        _check_open(progress, step)
                        return self._told(scene.watch(progress), origin, before)
                    progress = attrs.evolve(progress, finished=True)
                    here = scene.saved(Path(folder), progress, assemble.loras_of(stage))
                    at = progress.step

    def _owner(self, at: int, step: int) -> Stretch:
        """The stage that had the step after ``at``.

        Raises:
            ReplayError: no stage was left, and ``step`` is wanted.
        """
        owner = self._history.owner(at + 1)
        if owner is None:
            raise ReplayError(f"the run ends with step {at}, and step {step} was asked for")
        return owner

    def _made(self, scene: Scene, progress: Progress, last: int) -> Progress:
        """The steps up to ``last``, which are of the stage."""
        missing = last - progress.step
        if missing:
            self._say(f"making steps {progress.step + 1} to {last} again")
            progress = scene.train(progress, missing)
            if progress.step < last:
                _check_open(progress, last)
        return progress

    def _initial(
        self, here: Checkpoint | None, stage: Stage, owner: Stretch, files: ExitStack
    ) -> Initial:
        """What the run had at this place: as it goes on with a stage, or begins one."""
        goes_on = here is not None and here.progress.step > owner.begins
        if owner.weights is not None and not goes_on:
            return initial_from(owner.weights, self._recipe, self._device, stage, files)
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
        prepared = assemble.training_preparer(self._recipe.model, stage, self._text)
        learning = assemble.started(
            self._recipe,
            stage,
            initial,
            World(device=str(self._device)),
            begun.states() if begun is not None else None,
            frozen_models(self._recipe, stage, self._device),
        )
        stack.callback(learning.engine.close)
        lanes = begun.lanes if begun is not None else None
        loader = assemble.pack_loader(self._recipe, stage, prepared, World(), lanes)
        stack.callback(loader.close)
        numbers = rollbacks.numbers(self._left_out, stage.name)
        discarding = DiscardingLoader(loader, numbers, progress.stage_step)
        blank = blank_batch(
            prepared.view, prepared.text, prepared.pair_texts, prepared.blank_features
        )
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
        self, outcome: Outcome, origin: Path | None, before: Sequence[RecordedStep]
    ) -> Replay:
        report = outcome.report
        return Replay(
            step=report.step,
            stage=report.stage,
            stage_step=report.stage_step,
            start=str(origin) if origin else None,
            ranks=self._ranks,
            before=before,
            loss=report.values["loss"],
            grad_norm=report.values["grad_norm"],
            recorded=self._history.steps.get(report.step, {}),
            sources=by_source([one for pack in outcome.packs for one in pack.samples]),
            packs=outcome.packs,
            modules=outcome.modules,
        )


def _progress(here: Checkpoint | None, at: int, owner: Stretch) -> Progress:
    """As the run goes on with the stage whose its next step is, or begins it.

    Raises:
        ReplayError: the checkpoint and the history of the run disagree.
    """
    progress = here.progress if here is not None else Progress(step=at)
    goes_on = here is not None and not progress.finished and progress.stage_index == owner.stage
    begins = progress.step - (progress.stage_step if goes_on else 0)
    if begins != owner.begins:
        raise ReplayError(
            f"stage {owner.name!r} began after step {owner.begins} by {ENVIRONMENT} and the ends "
            f"of stages, and {here.path if here else 'the run'} is at step {progress.step}, step "
            f"{progress.stage_step} of stage {progress.stage!r}: what the run had there is not "
            "known"
        )
    return progress if goes_on else progress.in_stage(owner.stage, owner.name)


def _check_open(progress: Progress, step: int) -> None:
    """
    Raises:
        ReplayError: the stage is over, and the run has begun no other.
    """
    if progress.finished:
        raise ReplayError(
            f"stage {progress.stage!r} ends with step {progress.step}, and step {step} was asked "
            "for, which the run has in no other stage"
        )


def _beside(report: StepReport, recorded: Mapping[int, Recorded]) -> RecordedStep:
    then = recorded.get(report.step, {}).get("loss")
    return RecordedStep(step=report.step, loss=report.values["loss"], recorded=then)
