"""What a step reports beside its loss: rates, shares of time, memory, and the parts' numbers.

``docs/measures.md`` has every name with its formula and unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs
import torch
from torch import nn

from mmcore.interfaces import Engine, KnowsPartNorms, PackedBatch
from mmcore.training.collectives import COMMUNICATION, heard
from mmcore.training.memory_use import memory_use
from mmcore.training.part_times import FORWARD, PartTimes
from mmcore.training.ranks import gather_floats
from mmcore.training.step_clock import StepClock
from mmcore.training.step_facts import StepFacts

DATA_WAIT, EXCHANGE, CALL, OPTIMISER = "data_wait", "exchange", "call", "optimiser"
"""Spans of a step: the wait for packs, what ranks tell each other of them, forward and backward
together, and the update."""

CHECKPOINT, VALIDATION = "checkpoint", "validation"
"""Spans between two steps."""

TIMES = (
    DATA_WAIT,
    EXCHANGE,
    "encode",
    "sample",
    "llm_forward",
    "backward",
    OPTIMISER,
    COMMUNICATION,
    CHECKPOINT,
    VALIDATION,
)
"""What every rank tells of its time; the mean over the ranks is reported."""


@attrs.frozen(kw_only=True)
class Measured:
    """What is known of a stage before it starts, for its measures.

    Attributes:
        sources: labels of its sources.
        rates: highest learning rate of every part that learns.
        flops: model FLOPs of a pack, forward and backward, from host data; None: not asked for.
        peak: FLOP/s of one device at the most; None: not known.
    """

    sources: Sequence[str] = ()
    rates: Mapping[str, float] = attrs.field(factory=dict)
    flops: Callable[[PackedBatch], float] | None = None
    peak: float | None = None


class StepWatch:
    """Looks over the shoulder of an engine while a stage trains.

    Args:
        device: of the engine.
        measured: what is known of the stage.
        module: the ``TrainingStep`` that the engine wraps; without it, time is not split by part.
    """

    def __init__(
        self, device: torch.device, measured: Measured, module: nn.Module | None = None
    ) -> None:
        self.clock = StepClock(device)
        self.measured = measured
        self._device, self._module = device, module
        self._between: dict[str, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it is on, the parts' forward passes and the collectives are heard of."""
        parts = None if self._module is None else PartTimes(self.clock, self._module)
        try:
            with heard(self.clock):
                yield
        finally:
            if parts is not None:
                parts.close()

    @contextmanager
    def between(self, name: str) -> Iterator[None]:
        """What runs between two steps; it is reported with the next one."""
        began = time.perf_counter()
        yield
        self.clock.forget()  # forward passes in there are no step's
        self._between[name] = self._between.get(name, 0.0) + time.perf_counter() - began

    def shared(
        self, sums: Sequence[float], stop: bool
    ) -> tuple[list[float], dict[str, float], bool]:
        """Tell the other ranks, and hear from them.

        Args:
            sums: losses of this rank.
            stop: whether this process was asked to stop.

        Returns:
            the losses' sums over the ranks; seconds (mean) and bytes (most) by name; whether any
            process was asked to stop.
        """
        times, memory = self._times(), memory_use(self._device)
        mine = [*sums, *(times[name] for name in TIMES), *memory.values(), float(stop)]
        *columns, stops = zip(*gather_floats(mine), strict=True)
        seconds, held = columns[len(sums) :][: len(TIMES)], columns[len(sums) + len(TIMES) :]
        told = {
            f"time/{name}": sum(one) / len(one) for name, one in zip(TIMES, seconds, strict=True)
        }
        told |= {name: max(one) for name, one in zip(memory, held, strict=True)}
        return [sum(column) for column in columns[: len(sums)]], told, any(stops)

    def _times(self) -> dict[str, float]:
        spans = self.clock.take()
        forward = spans.get(FORWARD, 0.0)
        encode, sample = spans.get("encode", 0.0), spans.get("sample", 0.0)
        return {
            DATA_WAIT: spans.get(DATA_WAIT, 0.0),
            EXCHANGE: spans.get(EXCHANGE, 0.0),
            "encode": encode,
            "sample": sample,
            "llm_forward": forward - encode - sample,
            "backward": spans.get(CALL, 0.0) - forward,
            OPTIMISER: spans.get(OPTIMISER, 0.0),
            COMMUNICATION: spans.get(COMMUNICATION, 0.0),
            CHECKPOINT: self._between.pop(CHECKPOINT, 0.0),
            VALIDATION: self._between.pop(VALIDATION, 0.0),
        }


INSIDE = (DATA_WAIT, EXCHANGE, "encode", "sample", "llm_forward", "backward", OPTIMISER)
"""Times that make up a step, with what is left over as ``time/other``."""


def left_over(times: Mapping[str, float], seconds: float) -> float:
    """What a step of so many seconds spent on nothing that has a name."""
    return max(0.0, seconds - sum(times[f"time/{name}"] for name in INSIDE))


def part_norms(engine: Engine) -> Mapping[str, torch.Tensor]:
    """Gradient norm of every part in the step just made, on the device; nothing where the engine
    does not know."""
    return engine.part_norms() if isinstance(engine, KnowsPartNorms) else {}


def rates_of(
    facts: StepFacts, seconds: float, processes: int, measured: Measured
) -> dict[str, float]:
    """What a step worked on, and how fast."""
    values = {
        "tokens": float(facts.tokens),
        "views": float(facts.views),
        "pictures": float(facts.pictures),
        "labels": float(facts.labels),
        "samples": facts.counts.get("samples", 0.0),
        "rejected": float(len(facts.rejected)),
        "tokens_per_pack": facts.tokens / facts.packs,
        "seconds": seconds,
        "tokens_per_second": facts.tokens / seconds,
        "tokens_per_second_per_process": facts.tokens / seconds / processes,
        "views_per_second": facts.views / seconds,
        "pictures_per_second": facts.pictures / seconds,
        "data_wait_share": min(facts.wait_seconds / seconds, 1.0),
    }
    if measured.flops is not None:
        rate = facts.flops / seconds / processes
        values["model_flops"] = facts.flops
        values["model_flops_per_second_per_process"] = rate
        if measured.peak is not None:
            values["mfu"] = rate / measured.peak
    return values
