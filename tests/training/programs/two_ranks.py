"""A program of one of two ranks: exchanges, checkpoints and the loop, with a pretended engine."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import torch

from mmcore.interfaces import PackedBatch, ParameterState, Segment, World
from mmcore.interfaces.records import SampleKey
from mmcore.training import checkpoint
from mmcore.training.checkpoint_write import Header, Keeping
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Budget, Progress
from mmcore.training.ranks import (
    LostRankError,
    barrier,
    distributed,
    from_main,
    gather_floats,
    gather_objects,
)
from mmcore.training.stage import StageRun
from mmcore_optim.spec import AdamWSpec
from mmcore_registry import hookimpl


class Weights:
    """Stands for an engine: keeps the divisors, and finds a loss of 3 per label."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.divisors: list[float] = []

    def backward(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        self.divisors += divisors
        return torch.tensor([3.0 * batch.labels])

    def step(self, multiplier: float) -> torch.Tensor:
        return torch.tensor(1.0)

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        for index in range(rank, 5, ranks):
            weight = torch.full((40, 40), float(index))
            yield ParameterState(f"layer.{index}", weight, {"exp_avg": weight + 0.5}, 2)


class Labels:
    def count(self, batch: PackedBatch) -> float:
        return float(batch.labels)


@attrs.frozen
class Data:
    batches: Sequence[PackedBatch]
    rejected: Sequence[object]
    counts: dict[str, float]
    wait_seconds: float


class Loader:
    """One pack a step, of 4 labels on rank 0 and of 2 on rank 1."""

    def __init__(self, world: World) -> None:
        self.labels = 4 - 2 * world.rank
        self.name = f"rank-{world.rank}"

    def next_step(self) -> Data:
        none = torch.zeros(0)
        key = SampleKey(self.name, "s", 0)
        segment = Segment(key, self.name, 0, 6, 0, self.labels)
        empty = PackedBatch(none, none, none, (6,), *[none] * 7, segments=(segment,))
        return Data([empty], [], {"samples": 1.0, f"drawn/{self.name}": 1.0}, 0.0)


class Ear:
    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    @hookimpl
    def mmcore_step_end(self, report: object) -> None:
        self.values.append(dict(report.values))


def save(root: Path, step: int, world: World) -> str:
    try:
        path = checkpoint.save(
            root,
            engine=Weights(),
            header=Header(progress=Progress(step=step)),
            lanes={world.rank: {"row": 10 + world.rank}},
            world=world,
            keeping=Keeping(last=2),
        )
    except checkpoint.CheckpointError as error:
        return f"CheckpointError: {error}"
    return path.name


def train(world: World) -> dict[str, object]:
    engine, ear = Weights(), Ear()
    asked = iter([False, world.rank == 1])  # only one rank is asked to stop
    progress = train_stage(
        StageRun(
            name="s",
            engine=engine,
            objectives=[Labels()],
            objective_names=["labels"],
            weights=[2.0],
            loader=Loader(world),
            optimizer=AdamWSpec(lr=0.1),
            budget=Budget(steps=9),
        ),
        Progress(stage="s"),
        world=world,
        hooks=Hooks([ear], world),
        save=lambda now: None,
        every_steps=100,
        stop=lambda: next(asked),
    )
    return {
        "divisors": engine.divisors,
        "losses": [one["loss"] for one in ear.values],
        "tokens": progress.tokens,
        "counts": progress.counts,
        "steps": progress.step,
    }


def refused(world: World) -> str:
    """What each rank raises where rank 0 cannot make what all are to be told."""

    def make() -> None:
        raise ValueError(f"rank {world.rank} made it")

    try:
        from_main(make)
    except (ValueError, LostRankError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(root: Path) -> None:
    with distributed() as world:
        outcome = {
            "gathered": gather_objects({"rank": world.rank}),
            "of_main": from_main(lambda: {"rank": world.rank}),
            "nothing": from_main(lambda: None),
            "refused": refused(world),
            "floats": gather_floats([1.0, world.rank + 0.5]),
            "saved": save(root, 1, world),
            "trained": train(world),
        }
        if world.rank == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        outcome["full"] = save(root, 2, world)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        barrier()
        (root / f"outcome-{world.rank}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
