"""What features that were made beforehand gain: the steps of a stage with them and without."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import torch

from mmcore.benchmarks.steps import StageTimes, measure_stage
from mmcore.recipe import Recipe, Stage


@attrs.frozen
class Gain:
    """Both ways on the same packs.

    Attributes:
        stage: its name.
        threads: that torch uses.
        encoded: pictures decoded and encoded, in every round.
        cached: features read in their place, in every round.
    """

    stage: str
    threads: int
    encoded: Sequence[StageTimes]
    cached: Sequence[StageTimes]

    @property
    def step_ratios(self) -> list[float]:
        """How many times as long a step takes without features, round by round."""
        return [_step(one) / _step(other) for one, other in self._rounds]

    @property
    def cpu_ratios(self) -> list[float]:
        """How many times as much processor time a step takes without features, its data included,
        round by round: of a busy machine the fairer figure."""
        return [_cpu(one) / _cpu(other) for one, other in self._rounds]

    @property
    def data_ratios(self) -> list[float]:
        """The same of making a step's packs ready, with nothing beside it."""
        return [_data(one) / _data(other) for one, other in self._rounds]

    @property
    def _rounds(self) -> list[tuple[StageTimes, StageTimes]]:
        return list(zip(self.encoded, self.cached, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """For ``--json``: what was measured, and the ratios that follow."""
        return attrs.asdict(self) | {
            "step_ratios": self.step_ratios,
            "cpu_ratios": self.cpu_ratios,
            "data_ratios": self.data_ratios,
        }


def measure_gain(
    recipe: Recipe,
    stage: Stage,
    *,
    steps: int,
    rounds: int,
    progress: Callable[[str], None] = lambda text: None,
) -> Gain:
    """Both ways in turn, so that what else the machine does falls on both.

    Args:
        recipe: the stage's.
        stage: one whose sources name folders with their features.
        steps: of a round.
        rounds: how often.
        progress: told before every round.

    Raises:
        ValueError: the recipe's model or engine cannot run here.
        DataFault: a picture has no features.
    """
    without = attrs.evolve(
        stage, data=tuple(attrs.evolve(one, features=None) for one in stage.data)
    )
    encoded, cached = [], []
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        encoded.append(measure_stage(recipe, without, steps))
        cached.append(measure_stage(recipe, stage, steps))
        same = [(one.tokens, one.views) for one in (encoded[-1], cached[-1])]
        assert same[0] == same[1], f"tokens and views of both ways: {same}"
    return Gain(stage.name, torch.get_num_threads(), encoded, cached)


def _step(times: StageTimes) -> float:
    return statistics.median(times.step_seconds)


def _cpu(times: StageTimes) -> float:
    return statistics.median(times.step_cpu_seconds)


def _data(times: StageTimes) -> float:
    return statistics.median(times.data_seconds)
