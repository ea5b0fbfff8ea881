"""The packs of several processes one process after another, each with its own random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
import torch

from mmcore.interfaces import Engine, PackedBatch, ParameterState
from mmcore.recipe import Recipe
from mmcore.training.discarding import DiscardingLoader
from mmcore.training.feed import StepData
from mmcore.training.ranks import seed_step


class InTurn:
    """Loader and engine of one process that does what all of them did."""

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
