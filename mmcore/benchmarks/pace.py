"""The pace of a stage's steps on given packs, and that of the same model run the usual way."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs
import torch

from mmcore import assemble
from mmcore.assemble import Learning
from mmcore.benchmarks.clock import Clock
from mmcore.benchmarks.machine import cores
from mmcore.benchmarks.packs import packer
from mmcore.benchmarks.padded import TwoWayModel, check_paddable, padded_positions
from mmcore.benchmarks.workload import Workload
from mmcore.interfaces import PackedBatch, World
from mmcore.recipe import Recipe, Stage
from mmcore.training.ranks import this_device

Way = Literal["packed", "padded"]


@attrs.frozen
class WayFigures:
    """How one way of running the packs went.

    Attributes:
        positions: that the LLM computed in the timed steps of a round, padding included.
        seconds: of every timed step, the best of the rounds.
        cpu_seconds: the same, of all threads of the process: less moved by what else runs.
        losses: mean loss of every step of the first round, warm-up included.
        spans: mean seconds of a timed step's parts, in the last round.
        peak_bytes: most device memory at once; None on a CPU, where torch does not count it.
    """

    positions: int
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    losses: Sequence[float]
    spans: Mapping[str, float]
    peak_bytes: int | None


@attrs.frozen
class Pace:
    """What was measured.

    Attributes:
        stage, workload: their names.
        device: of the model, in words.
        threads, cores: threads that torch uses, and cores that the process may use.
        matmul_rate: floating-point operations a second of plain products of 1024 x 1024 matrices
            in the recipe's number format, the best of several: to tell machines apart.
        rounds: how often the workload was run.
        warmup: how many steps of a round are not timed.
        tokens, views, labels, packs: of the timed steps of a round.
        process_bytes: most memory of the process at once, of all ways together.
        ways: by name.
    """

    stage: str
    workload: str
    device: str
    threads: int
    cores: int
    matmul_rate: float
    rounds: int
    warmup: int
    tokens: int
    views: int
    labels: int
    packs: int
    process_bytes: int
    ways: Mapping[Way, WayFigures]

    def tokens_per_second(self, way: Way) -> float:
        """Real tokens, of the best rounds."""
        return self.tokens / sum(self.ways[way].seconds)

    def tokens_per_cpu_second(self, way: Way) -> float:
        """Real tokens by processor time."""
        return self.tokens / sum(self.ways[way].cpu_seconds)

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: what was measured, and the rates that follow."""
        table = attrs.asdict(self)
        for way, figures in self.ways.items():
            table["ways"][way] |= {
                "tokens_per_second": self.tokens_per_second(way),
                "tokens_per_cpu_second": self.tokens_per_cpu_second(way),
                "padding_share": 1.0 - self.tokens / figures.positions,
            }
        return table


def measure_pace(
    recipe: Recipe,
    stage: Stage,
    workload: Workload,
    *,
    rounds: int,
    baseline: bool,
    bounded: bool,
    progress: Callable[[str], None] = lambda text: None,
) -> Pace:
    """Run the workload's steps from initial weights, and each of them the usual way before it.

    The usual way takes its steps with a learning rate of zero, so both ways meet the same weights
    and show the same losses; the update's work is the same too.

    Args:
        rounds: how often the workload is gone through; of each step the fastest counts. On a GPU
            one more round takes the parts' times, for which the device must be waited for.
        baseline: whether the usual way is run as well.
        bounded: whether the stage's batch table bounds the packs, or every step is one pack.
        progress: told before every round.

    Raises:
        ValueError: the recipe's model or engine cannot run here, or an example fits no pack.
    """
    world = World(device=this_device())
    device = torch.device(world.device)
    packing = packer(recipe, stage, bounded=bounded)
    steps = [packing.packs(examples) for examples in workload.steps]
    clock = Clock(device)
    model = TwoWayModel(assemble.build_model(recipe, device)[0], clock)
    if baseline:
        check_paddable(model)
    learning = assemble.learning(recipe, stage, model, world)
    ways: tuple[Way, ...] = ("padded", "packed") if baseline else ("packed",)
    weights = [spec.weight for spec in stage.objectives]
    runs = {way: _WayRun(way, model, learning, weights, clock, workload.warmup) for way in ways}
    rates = []
    timing_of_parts = rounds if device.type == "cuda" else rounds - 1
    for number in range(timing_of_parts + 1):
        progress(f"round {number + 1} of {timing_of_parts + 1}")
        clock.running = number == timing_of_parts
        rates.append(matmul_rate(device, recipe.engine.precision))
        for step, packs in enumerate(steps):
            for run in runs.values():
                run.step(step, packs, counts=number < rounds)
    learning.engine.close()
    timed = [batch for packs in steps[workload.warmup :] for batch in packs]
    return Pace(
        stage=stage.name,
        workload=workload.name,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        cores=cores(),
        matmul_rate=max(rates),
        rounds=rounds,
        warmup=workload.warmup,
        tokens=sum(batch.tokens for batch in timed),
        views=sum(batch.views for batch in timed),
        labels=sum(batch.labels for batch in timed),
        packs=len(timed),
        process_bytes=_process_bytes(),
        ways={way: runs[way].figures(timed) for way in reversed(ways)},
    )


class _WayRun:
    """Takes the steps of one way and remembers the fastest of each."""

    def __init__(
        self,
        way: Way,
        model: TwoWayModel,
        learning: Learning,
        weights: Sequence[float],
        clock: Clock,
        warmup: int,
    ) -> None:
        self._way, self._model, self._learning, self._weights = way, model, learning, weights
        self._clock, self._warmup = clock, warmup
        self._best: dict[int, float] = {}
        self._best_cpu: dict[int, float] = {}
        self._losses: list[float] = []
        self._spans: list[Mapping[str, float]] = []
        self._peak = 0

    def step(self, number: int, packs: Sequence[PackedBatch], *, counts: bool) -> None:
        engine, clock = self._learning.engine, self._clock
        divisors = [
            max(1.0, sum(one.count(batch) for batch in packs)) for one in self._learning.objectives
        ]
        on_cuda = engine.device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(engine.device)
        self._model.padded = self._way == "padded"
        clock.start()
        began, cpu = clock.now(), time.process_time()
        sums = torch.zeros(len(divisors), device=engine.device)
        for batch in packs:
            sums += engine.backward(batch, divisors)
            clock.mark("backward")
        engine.step(0.0 if self._model.padded else 1.0)
        clock.mark("update")
        seconds, cpu = clock.now() - began, time.process_time() - cpu
        if on_cuda:
            self._peak = max(self._peak, torch.cuda.max_memory_allocated(engine.device))
        if number >= len(self._losses):
            terms = zip(sums.tolist(), self._weights, divisors, strict=True)
            self._losses.append(sum(total * weight / count for total, weight, count in terms))
        if number < self._warmup:
            return
        if clock.running:
            self._spans.append(clock.spans())
        if counts:
            self._best[number] = min(seconds, self._best.get(number, seconds))
            self._best_cpu[number] = min(cpu, self._best_cpu.get(number, cpu))

    def figures(self, timed: Sequence[PackedBatch]) -> WayFigures:
        padded = self._way == "padded"
        names = list(self._spans[0])
        return WayFigures(
            positions=sum(padded_positions(one) if padded else one.tokens for one in timed),
            seconds=list(self._best.values()),
            cpu_seconds=list(self._best_cpu.values()),
            losses=self._losses,
            spans={name: statistics.mean(one[name] for one in self._spans) for name in names},
            peak_bytes=self._peak or None,
        )


def matmul_rate(device: torch.device, precision: str) -> float:
    """Operations a second of a product of two 1024 x 1024 matrices, the best of five."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    one, other = (torch.ones(1024, 1024, dtype=dtype, device=device) for _ in range(2))
    clock = Clock(device)
    taken = []
    for _ in range(5):
        began = clock.now()
        one @ other
        taken.append(clock.now() - began)
    return float(2 * 1024**3 / min(taken))


def _process_bytes() -> int:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
