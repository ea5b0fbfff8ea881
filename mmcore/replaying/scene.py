"""A stage of a run that is stepped through, and at one step watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from mmcore.interfaces import Lora, StepReport, World
from mmcore.replaying.in_turn import InTurn
from mmcore.replaying.results import ReplayedPack
from mmcore.run_folder.history import NEVER
from mmcore.training import checkpoint
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_write import Header, Keeping
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.module_norms import ModuleNorm, ModuleNorms
from mmcore.training.progress import Progress
from mmcore.training.stage import StageRun
from mmcore.training.stopping import StopRequest
from mmcore_registry import hookimpl


@attrs.frozen
class Outcome:
    report: StepReport
    packs: Sequence[ReplayedPack]
    modules: Sequence[ModuleNorm]


class Scene:
    """A stage that is stepped through, and at one step watched."""

    def __init__(self, run: StageRun, in_turn: InTurn, norms: ModuleNorms) -> None:
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

    def saved(self, root: Path, progress: Progress, loras: Mapping[str, Lora]) -> Checkpoint:
        """The stage's end, in a folder that is no run's: the next stage begins from it."""
        path = checkpoint.save(
            root,
            engine=self._run.engine,
            header=Header(progress=progress, loras=loras),
            lanes={},
            world=World(),
            keeping=Keeping(last=1),
        )
        return checkpoint.load(path)

    def watch(self, progress: Progress) -> Outcome:
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
        return Outcome(self.reports[-1], packs, self._norms.norms())
