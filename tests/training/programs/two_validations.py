"""A program of one of two ranks: losses by source and a validation with unequal packs on ranks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import torch
from torch import nn

from mmcore.interfaces import PackedBatch, SampleKey, Segment, ValidationReport
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.measures import Measured
from mmcore.training.progress import Budget, Progress
from mmcore.training.ranks import distributed, gather_objects
from mmcore.training.stage import StageRun
from mmcore.training.step_module import TrainingStep
from mmcore.training.validation import Validation
from mmcore_optim.spec import AdamWSpec
from mmcore_registry import hookimpl


class Model(nn.Module):
    """Says of every target that its loss is the target's id."""

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        return torch.zeros(len(batch.input_ids_T), 1)

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        return targets_L.float()


class NextToken:
    def count(self, batch: PackedBatch) -> float:
        return float(batch.labels)

    def loss(self, forward: Model, batch: PackedBatch) -> torch.Tensor:
        h_TE = forward.hidden(batch)
        nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L)
        return (nll_L * batch.label_weight_L).sum()


@attrs.define
class Engine:
    """Goes forward, and counts how often."""

    module: TrainingStep
    device = torch.device("cpu")
    trained: int = 0
    evaluated: int = 0

    def backward(self, batch: PackedBatch, divisors: list[float]) -> torch.Tensor:
        self.trained += 1
        return self.module(batch, divisors)[1]

    def evaluate(self, batch: PackedBatch, divisors: list[float]) -> torch.Tensor:
        self.evaluated += 1
        return self.module(batch, divisors)[1]

    def step(self, multiplier: float) -> torch.Tensor:
        return torch.tensor(1.0)


def pack(source: str, targets: list[int]) -> PackedBatch:
    """Of one sample; without a source, a blank one."""
    count, none = len(targets), torch.zeros(0)
    segment = Segment(SampleKey(source, "s", 0), source, 0, count, 0, count)
    return PackedBatch(
        input_ids_T=torch.zeros(count, dtype=torch.int64),
        position_ids_T=none,
        cu_seqlens=none,
        lengths=(count,),
        label_index_L=torch.arange(count),
        targets_L=torch.tensor(targets),
        label_weight_L=torch.full((count,), float(bool(source))),
        pixels_NCHW=none,
        patch_mask_NP=none,
        image_token_index_K=none,
        label_segment_L=torch.zeros(count, dtype=torch.int32),
        segments=(segment,) if source else (),
    )


@attrs.frozen
class Data:
    batches: list[PackedBatch]
    rejected: tuple[()] = ()
    counts: dict[str, float] = attrs.field(factory=dict)
    wait_seconds: float = 0.0


@attrs.frozen
class Loader:
    batches: list[PackedBatch]

    def next_step(self) -> Data:
        return Data(self.batches)


class Packs(list[PackedBatch]):
    blank = pack("", [1000])


class Ear:
    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    @hookimpl
    def mmcore_step_end(self, report: object) -> None:
        self.steps.append(dict(report.values))

    @hookimpl
    def mmcore_validated(self, report: ValidationReport) -> None:
        self.validations.append(dict(report.values))


TRAINED = ([pack("a", [1, 3]), pack("b", [10])], [pack("b", [20, 30, 40]), pack("", [1000])])
HELD_OUT = ([pack("a", [2]), pack("b", [6]), pack("a", [4, 6])], [pack("b", [8])])


def main(root: Path) -> None:
    with distributed() as world:
        module, ear = TrainingStep(Model(), [NextToken()], [1.0]), Ear()
        engine = Engine(module)
        train_stage(
            StageRun(
                name="s",
                engine=engine,
                objectives=[NextToken()],
                objective_names=["next-token"],
                weights=[1.0],
                loader=Loader(TRAINED[world.rank]),
                optimizer=AdamWSpec(lr=0.1),
                budget=Budget(steps=2),
                module=module,
                measured=Measured(sources=["a", "b", "c"]),
                validation=Validation(Packs(HELD_OUT[world.rank]), every_steps=1),
            ),
            Progress(stage="s"),
            world=world,
            hooks=Hooks([ear], world),
            save=lambda now: None,
            every_steps=100,
            stop=lambda: False,
        )
        counts = gather_objects((engine.trained, engine.evaluated))
        if world.is_main:
            outcome = {"counts": counts, "steps": ear.steps, "validations": ear.validations}
            (root / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
