"""A whole run: where it begins, its lives when it was set back, and how it ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from mmcore import __version__
from mmcore.adapters import check_adapters
from mmcore.evaluation import records
from mmcore.frozen import check_frozen_models
from mmcore.interfaces import (
    Evaluation,
    Incident,
    RunInfo,
    Tracker,
    World,
)
from mmcore.recipe import Recipe, to_toml
from mmcore.run_folder import rollbacks
from mmcore.run_folder.best_checkpoint import BestKeeper
from mmcore.run_folder.folder import (
    Resume,
    locked,
    prepare,
    write_environment,
)
from mmcore.run_folder.incident_log import IncidentLog
from mmcore.run_folder.rejected_log import RejectedLog
from mmcore.run_folder.validation_log import ValidationLog
from mmcore.running.stage_features import check_tables
from mmcore.running.stages import Stages, newest
from mmcore.running.starting import (
    RunError,
    Span,
    began,
    begun,
    check_used,
    checkpoint_at,
    found,
    span,
)
from mmcore.training.agreement import check_agreement
from mmcore.training.checkpoint import Checkpoint, CheckpointError, load
from mmcore.training.discarding import data_number
from mmcore.training.hooks import Hooks
from mmcore.training.progress import Progress
from mmcore.training.ranks import (
    barrier,
    distributed,
    from_main,
    gather_objects,
    world_from_environment,
)
from mmcore.training.spikes import RollBack
from mmcore.training.stopping import StopRequest, stop_on_signal


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
    folder: str | Path | None = None,
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
        folder: the run folder itself, instead of the recipe's name in ``root``.

    Raises:
        RunError, RunFolderError, LoraError, FeaturesError, FrozenModelError: it cannot be started
            like this.
        CheckpointError, WeightsError: what it should start from is missing or damaged.
        DataFault, TooManyRejectedError, DivergedError: it must not go on.
    """
    weights = None if begin_from is None else Path(begin_from)
    world = world_from_environment()
    check_processes(recipe, world.size)
    check_adapters(recipe)
    folder = Path(root) / recipe.name if folder is None else Path(folder)
    check_frozen_models(recipe, folder)
    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signal(after=max_steps))
        stack.enter_context(distributed(world))
        if world.is_main:
            stack.enter_context(locked(folder))
        wanted = from_main(
            lambda: _entered(folder, recipe, world, resume, stage=stage, until=until, from_=weights)
        )
        check_agreement(_facts(folder, recipe))
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


def _entered(
    folder: Path,
    recipe: Recipe,
    world: World,
    resume: Resume,
    *,
    stage: str | None,
    until: str | None,
    from_: Path | None,
) -> Span:
    """Make the folder ready for this start of the run; what is to be trained from here on.

    Raises:
        RunError, RunFolderError, FeaturesError: it cannot be started like this.
    """
    done = _progress(folder) if resume == "auto" else None
    wanted = span(recipe, done, stage=stage, until=until, weights=from_)
    check_used(folder, recipe, wanted, done)
    check_tables(recipe, wanted, done)
    prepare(folder, to_toml(recipe), resume, begun=begun(done))
    write_environment(
        folder,
        world.size,
        world.device,
        after_step=done.step if done else 0,
        began=began(recipe, wanted, done),
    )
    return found(wanted, done)


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
    start = from_main(lambda: newest(folder))
    info = RunInfo(recipe.name, folder, start.progress.step if start else 0, to_toml(recipe))
    trackers = [spec.build(info) for spec in recipe.trackers] if world.is_main else []
    kept = [RejectedLog(folder), IncidentLog(folder), ValidationLog(folder), BestKeeper(folder)]
    hooks = Hooks([*listeners, *kept], world, guests=trackers)  # the run's own books are first
    hooks.run_start(info)
    try:
        source = from_main(lambda: _source(start, wanted))
        if source is not None:
            hooks.activity(f"checking every file of {source.path}")
            _verify(source, world)
        finished = Stages(recipe, folder, world, hooks, stop, wanted).go(start)
    except RollBack as back:
        step = start.progress.step if (start := from_main(lambda: newest(folder))) else 0
        words = f"{back}; the run goes on after step {step}"
        hooks.incident(Incident(step=step, kind="rolled-back", detail=words))
        hooks.run_end("stopped")
        raise
    except BaseException:
        hooks.run_end("failed")
        raise
    hooks.run_end("finished" if finished else "stopped")
    return finished


def _source(start: Checkpoint | None, wanted: Span) -> Checkpoint | None:
    """The checkpoint whose weights are read first; None where there is none, or a model folder,
    which holds no hashes, is."""
    named = wanted.begins_with(start.progress if start else None)
    if named is None:
        return start
    path = checkpoint_at(named)
    return None if path is None else load(path)


def _facts(folder: Path, recipe: Recipe) -> dict[str, str]:
    """What all ranks must have found alike before the first step."""
    start = newest(folder)
    return {
        "the version of mmcore": __version__,
        "the recipe (its hash)": hashlib.sha256(to_toml(recipe).encode()).hexdigest()[:12],
        f"{folder}/": "there" if folder.is_dir() else "missing",
        "the checkpoint to start from": start.path.name if start else "none",
    }


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
    """Write down which data the next life leaves out: what the stage learned from before its
    checkpoint, if it has one, stays as it is."""
    if world.is_main:
        start = newest(folder)
        within = start is not None and start.progress.stage == back.stage
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


def _progress(folder: Path) -> Progress | None:
    start = newest(folder)
    return None if start is None else start.progress
