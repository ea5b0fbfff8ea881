"""A stage that is ready to run: everything the loop needs, put together by whoever assembles it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmcore.interfaces import Engine, Objective, OptimizerSpec, PackedBatch
from mmcore.training.early_stop import EarlyStop
from mmcore.training.feed import Loader
from mmcore.training.measures import Measured
from mmcore.training.progress import Budget
from mmcore.training.segment_losses import SegmentLosses
from mmcore.training.spikes import SpikeGuard
from mmcore.training.step_module import TrainingStep
from mmcore.training.told import Told
from mmcore.training.validation import Validation


@attrs.frozen(kw_only=True, eq=False)
class StageRun:
    """One stage of a run.

    Attributes:
        name: of the stage.
        engine: around a ``TrainingStep`` of the same objectives and weights, in the same order.
        objectives, objective_names, weights: what is learned, under which name it is reported,
            and its factor in the total loss.
        loader: this rank's share of the data.
        optimizer: whose schedule is followed.
        budget: how long the stage lasts.
        seed: of the run.
        max_rejected_share: more rejected rows than this share stop the run.
        max_skipped_in_a_row: so many steps in a row without a finite gradient stop the run.
        early_stop: what ends the stage before its budget is spent, if anything does.
        spikes: what follows where the loss leaps.
        largest: goes through before the first step, and teaches nothing; None for no such pack.
        module: the ``TrainingStep``, to be watched, and to survey packs where an objective compares
            them; None where nobody does.
        measured: what is known of the stage, for its measures.
        validation: how the model does on held-out rows; None where there are none.
        segment_losses: the module's: what every sample of the last step lost.
        told: the module's: what the objectives told in the last step.
    """

    name: str
    engine: Engine
    objectives: Sequence[Objective]
    objective_names: Sequence[str]
    weights: Sequence[float]
    loader: Loader
    optimizer: OptimizerSpec
    budget: Budget
    seed: int = 0
    max_rejected_share: float = 0.05
    max_skipped_in_a_row: int = 5
    early_stop: EarlyStop | None = None
    spikes: SpikeGuard = attrs.field(factory=SpikeGuard)
    largest: PackedBatch | None = None
    module: TrainingStep | None = None
    measured: Measured = attrs.field(factory=Measured)
    validation: Validation | None = None
    segment_losses: SegmentLosses = attrs.field(init=False)
    told: Told = attrs.field(init=False)

    @segment_losses.default
    def _heard_by_module(self) -> SegmentLosses:
        return SegmentLosses() if self.module is None else self.module.segment_losses

    @told.default
    def _told_to_module(self) -> Told:
        return Told() if self.module is None else self.module.told
