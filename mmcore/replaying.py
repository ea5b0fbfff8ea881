"""One step of a run made again, in this process: its weights, data and random numbers, watched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import attrs
import torch

from mmcore import assemble, rollbacks
from mmcore.data.collate import blank_batch
from mmcore.interfaces import (
    Engine,
    EngineSpec,
    PackedBatch,
    ParameterState,
    StepReport,
    World,
)
from mmcore.making_up import make_up
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import Recipe, Stage, load_recipe
from mmcore.run_folder import CHECKPOINTS, ENVIRONMENT, RECIPE
from mmcore.running import budget_of
from mmcore.specs import spec
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_write import NAME
from mmcore.training.discarding import DiscardingLoader
from mmcore.training.feed import StepData
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.module_norms import ModuleNorm, ModuleNorms
from mmcore.training.progress import Progress
from mmcore.training.ranks import seed_step, this_device
from mmcore.training.spikes import SampleLoss, by_source
from mmcore.training.stage import StageRun
from mmcore.training.stopping import StopRequest
from mmcore_registry import hookimpl

METRICS = "metrics.jsonl"
"""Where the tracker `jsonl` writes what a run's steps were."""

NEVER = 2**62


class ReplayError(ValueError):
    """The step cannot be made again."""


@attrs.frozen(kw_only=True)
class ReplayedPack:
    """One pack of the step: which process had it, and what its samples lost."""

    rank: int
    lane: int
    tokens: int
    views: int
    samples: Sequence[SampleLoss]


@attrs.frozen(kw_only=True)
class RecordedStep:
    """What the run wrote down of a step, beside what it is now; None where nothing was written."""

    step: int
    loss: float
    recorded: float | None


@attrs.frozen(kw_only=True)
class Replay:
    """A step made again.

    Attributes:
        step, stage, stage_step: which one.
        start: the checkpoint from which it was reached; None for the initial weights.
        ranks: how many processes' random numbers were drawn, one after another.
        before: the steps on the way from there.
        loss, grad_norm: of the step now.
        recorded: what the run wrote down of it, by name.
        sources: mean loss per label of every source.
        packs: in the order in which they were computed.
        modules: in the order of their calls.
    """

    step: int
    stage: str
    stage_step: int
    start: str | None
    ranks: int
    before: Sequence[RecordedStep]
    loss: float
    grad_norm: float
    recorded: Mapping[str, float | None]
    sources: Mapping[str, float]
    packs: Sequence[ReplayedPack]
    modules: Sequence[ModuleNorm]

    @property
    def first_not_finite(self) -> ModuleNorm | None:
        """The module that was first to give something that is not finite."""
        broken = [one for one in self.modules if one.not_finite]
        return min(broken, key=lambda one: one.first_pack) if broken else None


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
    where = torch.device(device or this_device())
    recipe = _here(load_recipe(folder / RECIPE), where)
    count = ranks or _ranks(folder)
    start = nearest(folder / CHECKPOINTS, step)
    if start is not None:
        say(f"checking every file of {start.path}")
        start.verify()
    entries = rollbacks.read(folder)
    replayer = _Replayer(recipe, where, count, entries[: len(entries) - before_rollback], say)
    return replayer.go(start, step, recorded_steps(folder / METRICS))


def nearest(root: Path, step: int) -> Checkpoint | None:
    """The newest complete checkpoint of a step before this one; None if there is none."""
    names = (
        [one.name for one in root.iterdir() if NAME.fullmatch(one.name)] if root.exists() else []
    )
    earlier = [name for name in names if int(name.removeprefix("step-").partition(".")[0]) < step]
    return checkpoint.load(root / max(earlier)) if earlier else None


def recorded_steps(path: Path) -> dict[int, Mapping[str, float | None]]:
    """What the tracker `jsonl` wrote of every step; nothing where it did not listen."""
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
        entry = json.loads(line)
        if "loss" in entry:
            found[entry["step"]] = entry
    return found


def _here(recipe: Recipe, device: torch.device) -> Recipe:
    """With the engine for one process, and attention that this device has."""
    engine = cast(EngineSpec, spec("engine", "torch", precision=recipe.engine.precision))
    on_cpu = device.type == "cpu" and recipe.model.attention == "xformers"
    model = attrs.evolve(recipe.model, attention="sdpa") if on_cpu else recipe.model
    return attrs.evolve(recipe, engine=engine, model=model)


def _ranks(folder: Path) -> int:
    """How many processes the run last had."""
    path = folder / ENVIRONMENT
    if not path.exists():
        return 1
    return int(json.loads(path.read_text(encoding="utf-8"))[-1]["ranks"])


class _Replayer:
    def __init__(
        self,
        recipe: Recipe,
        device: torch.device,
        ranks: int,
        left_out: Sequence[rollbacks.Discarded],
        say: Callable[[str], None],
    ) -> None:
        self._recipe, self._device, self._ranks = recipe, device, ranks
        self._left_out, self._say = list(left_out), say
        self._text = recipe.model.llm.text()

    def go(
        self,
        start: Checkpoint | None,
        step: int,
        recorded: Mapping[int, Mapping[str, float | None]],
    ) -> Replay:
        stages = self._recipe.stages
        progress = start.progress if start else Progress().in_stage(0, stages[0].name)
        model = self._model(start)
        begun = start if progress.stage_step and not progress.finished else None
        before: list[RecordedStep] = []
        while True:
            if progress.finished:
                number = progress.stage_index + 1
                if number >= len(stages):
                    raise ReplayError(f"the run ends with step {progress.step}, wanted {step}")
                progress = progress.in_stage(number, stages[number].name)
            stage = stages[progress.stage_index]
            with ExitStack() as stack:
                scene = self._scene(stack, stage, model, progress, begun)
                begun = None
                missing = step - 1 - progress.step
                if missing:
                    self._say(f"making steps {progress.step + 1} to {step - 1} again")
                    progress = scene.train(progress, missing)
                    before += [_beside(one, recorded) for one in scene.reports]
                if progress.step == step - 1 and not progress.finished:
                    outcome = scene.watch(progress)
                    return self._told(outcome, start, before, recorded.get(step, {}))

    def _model(self, start: Checkpoint | None) -> VisionLanguageModel:
        if start is None:
            return assemble.build_model(self._recipe, self._device)[0]
        return assemble.model_of_checkpoint(self._recipe, start.path, self._device)

    def _scene(
        self,
        stack: ExitStack,
        stage: Stage,
        model: VisionLanguageModel,
        progress: Progress,
        begun: Checkpoint | None,
    ) -> _Scene:
        """A stage ready to go on; ``begun`` where it is the checkpoint's own."""
        make_up(stage, self._say)
        prepared = assemble.preparer(self._recipe.model, stage, self._text)
        learning = assemble.learning(self._recipe, stage, model, World(device=str(self._device)))
        stack.callback(learning.engine.close)
        if begun is not None:
            learning.engine.restore(begun.states())
        lanes = begun.lanes if begun is not None else None
        loader = assemble.pack_loader(self._recipe, stage, prepared, World(), lanes)
        stack.callback(loader.close)
        numbers = rollbacks.numbers(self._left_out, stage.name)
        discarding = DiscardingLoader(loader, numbers, progress.stage_step)
        blank = blank_batch(prepared.view, prepared.text)
        in_turn = _InTurn(
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
        return _Scene(run, in_turn, ModuleNorms(learning.module, model))

    def _told(
        self,
        outcome: _Outcome,
        start: Checkpoint | None,
        before: Sequence[RecordedStep],
        recorded: Mapping[str, float | None],
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


def _beside(report: StepReport, recorded: Mapping[int, Mapping[str, float | None]]) -> RecordedStep:
    then = recorded.get(report.step, {}).get("loss")
    return RecordedStep(step=report.step, loss=report.values["loss"], recorded=then)


@attrs.frozen
class _Outcome:
    report: StepReport
    packs: Sequence[ReplayedPack]
    modules: Sequence[ModuleNorm]


class _Scene:
    """A stage that is stepped through, and at one step watched."""

    def __init__(self, run: StageRun, in_turn: _InTurn, norms: ModuleNorms) -> None:
        self._run, self._in_turn, self._norms = run, in_turn, norms
        self.reports: list[StepReport] = []

    @hookimpl
    def mmcore_step_end(self, report: StepReport) -> None:
        self.reports.append(report)

    def train(self, progress: Progress, steps: int) -> Progress:
        """So many steps, or to the end of the stage."""
        return train_stage(
            self._run,
            progress,
            world=World(),
            hooks=Hooks([self], World()),
            save=lambda now: None,
            every_steps=NEVER,
            stop=StopRequest(after=steps),
        )

    def watch(self, progress: Progress) -> _Outcome:
        """One step with its norms."""
        self._in_turn.before_update = self._norms.take_gradients
        with self._norms.listening():
            self.train(progress, 1)
        heard = self._run.segment_losses.packs()
        packs = [
            ReplayedPack(
                rank=rank, lane=batch.lane, tokens=batch.tokens, views=batch.views, samples=samples
            )
            for (rank, batch), samples in zip(self._in_turn.packs, heard, strict=True)
        ]
        return _Outcome(self.reports[-1], packs, self._norms.norms())


class _InTurn:
    """The packs of several processes one process after another, each with its own random numbers:
    loader and engine of one process that does what all of them did."""

    def __init__(
        self,
        loader: DiscardingLoader,
        engine: Engine,
        ranks: int,
        recipe: Recipe,
        blank: PackedBatch,
        step: int,
    ) -> None:
        self._loader, self._engine, self._ranks = loader, engine, ranks
        self._lanes, self._seed, self._blank = recipe.data.lanes, recipe.seed, blank
        self._step, self._next = step, 0
        self.packs: list[tuple[int, PackedBatch]] = []
        self.before_update: Callable[[], None] = lambda: None

    @property
    def device(self) -> torch.device:
        return self._engine.device

    def next_step(self) -> StepData:
        data = self._loader.next_step()
        self._step += 1
        rounds = [
            data.batches[begin : begin + self._lanes]
            for begin in range(0, len(data.batches), self._lanes)
        ]
        self.packs = [
            (rank, batch) for rank in range(self._ranks) for batch in self._of(rank, rounds)
        ]
        self._next = 0
        return attrs.evolve(data, batches=tuple(batch for _, batch in self.packs))

    def _of(self, rank: int, rounds: Iterable[Sequence[PackedBatch]]) -> Iterator[PackedBatch]:
        """A process's packs; where ranks do not divide lanes, short ones have blank packs."""
        longest = -(-self._lanes // self._ranks)
        for batches in rounds:
            mine = [batch for batch in batches if batch.lane % self._ranks == rank]
            yield from (*mine, *[self._blank] * (longest - len(mine)))

    def backward(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        rank = self.packs[self._next][0]
        if self._next and rank != self.packs[self._next - 1][0]:
            seed_step(self._seed, self._step, rank)
        self._next += 1
        return self._engine.backward(batch, divisors)

    def evaluate(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        return self._engine.evaluate(batch, divisors)

    def step(self, multiplier: float) -> torch.Tensor:
        self.before_update()
        return self._engine.step(multiplier)

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        return self._engine.parameter_states(rank, ranks)

    def restore(self, states: Iterable[ParameterState]) -> None:
        self._engine.restore(states)

    def close(self) -> None:
        self._engine.close()
