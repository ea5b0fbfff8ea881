"""Comparisons over a whole step: every pack is looked at, all is compared, each pack is told.

The gradient is that of one large batch (as in gradient caching, arXiv:2101.06983), whatever the
packs and the ranks are: what objectives compare is made once without gradients, and the packs that
go backward afterwards carry what the comparison says of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import attrs
import torch

from mmcore.interfaces import ComparingObjective, PackedBatch
from mmcore.kit.seeds import seed_of
from mmcore.training.guards import memory_told
from mmcore.training.ranks import gather_bytes, gather_objects, this_rank
from mmcore.training.stalls import note

if TYPE_CHECKING:
    from mmcore.training.stage import StageRun

Seen = Mapping[str, torch.Tensor]
"""What a pack's survey found, by name."""


@attrs.frozen
class _Card:
    """What ranks tell one another of a pack before its tensors.

    Attributes:
        place: in the order of the data: round of its lane, lane, and rank, which decides only where
            packs have no lane (as those of a validation).
        counts: for every objective that compares, whether the pack has terms.
        kinds: dtype and shape of its tensors, by name.
    """

    place: tuple[int, int, int]
    counts: tuple[bool, ...]
    kinds: Mapping[str, tuple[torch.dtype, torch.Size]]

    @property
    def bytes(self) -> int:
        return sum(shape.numel() * dtype.itemsize for dtype, shape in self.kinds.values())


@attrs.frozen(eq=False)
class _Known:
    """A pack of any rank: what was seen of it, and which of this rank's it is, if it is."""

    card: _Card
    seen: Seen
    own: int | None


def compares(run: StageRun) -> bool:
    """Whether any objective of the stage compares the samples of a step."""
    return any(isinstance(one, ComparingObjective) for one in run.objectives)


def compared(
    run: StageRun, batches: Sequence[PackedBatch], step: int, span: AbstractContextManager[None]
) -> Sequence[PackedBatch]:
    """The packs of a step, each with what the comparisons say of it in its ``aux``; as they are
    where nothing is compared. Called by all ranks together.

    Args:
        batches: this rank's; every rank has as many.
        step: number of the step, which seeds what is drawn.
        span: times the surveys.
    """
    if not compares(run):
        return batches
    comparison = Comparison(run, step)
    with span:
        for place, batch in enumerate(batches, start=1):
            note(f"pack {place} of {len(batches)}: survey")
            comparison.look(batch)
    note("comparing the samples of the step")
    return [with_said(*one) for one in zip(batches, comparison.said(step), strict=True)]


def with_said(batch: PackedBatch, said: Seen) -> PackedBatch:
    """The pack with what is said of it."""
    return attrs.evolve(batch, aux={**batch.aux, **said})


class Comparison:
    """Looks at packs one by one, and then compares what it saw of them.

    Args:
        run: with an objective that compares.
        step: number of the step, for messages.
    """

    def __init__(self, run: StageRun, step: int) -> None:
        self._run, self._step = run, step
        self._objectives = [one for one in run.objectives if isinstance(one, ComparingObjective)]
        self._rounds: Counter[int] = Counter()
        self._cards: list[_Card] = []
        self._seen: list[Seen] = []

    def look(self, batch: PackedBatch) -> None:
        """Go through a pack as after training, without gradients; it is not kept."""
        run = self._run
        assert run.module is not None, "objectives that compare need the TrainingStep itself"
        with run.module.surveying() as surveyed, memory_told(batch, self._step):
            run.engine.evaluate(batch, [1.0] * len(run.objectives))
        (seen,) = surveyed
        place = self._rounds[batch.lane], batch.lane, this_rank()
        self._rounds[batch.lane] += 1
        counts = tuple(one.count(batch) > 0 for one in self._objectives)
        self._cards.append(_Card(place, counts, {name: _kind(one) for name, one in seen.items()}))
        self._seen.append(seen)

    def said(self, seed: int) -> list[dict[str, torch.Tensor]]:
        """What the comparisons say of each pack that was looked at; called by all ranks together.

        Args:
            seed: apart from the run's own.

        Raises:
            ValueError: two objectives say something under one name.
        """
        everyone = _exchanged(self._cards, self._seen, self._run.engine.device)
        seed = seed_of(self._run.seed, "comparison", str(seed))
        said: list[dict[str, torch.Tensor]] = [{} for _ in self._cards]
        for number, objective in enumerate(self._objectives):
            counting = [one for one in everyone if one.card.counts[number]]
            mine = {place: one.own for place, one in enumerate(counting) if one.own is not None}
            answers = objective.compare([one.seen for one in counting], list(mine), seed)
            for own, answer in zip(mine.values(), answers, strict=True):
                twice = said[own].keys() & answer.keys()
                if twice:
                    raise ValueError(f"two objectives say {', '.join(sorted(twice))} of a pack")
                said[own].update(answer)
        return said


def _exchanged(
    cards: Sequence[_Card], surveyed: Sequence[Seen], device: torch.device
) -> list[_Known]:
    """The packs of all ranks, in the order of the data. Those without any terms are left out."""
    wanted = [number for number, card in enumerate(cards) if any(card.counts)]
    mine = [_flat(one) for number in wanted for one in surveyed[number].values()]
    flat = torch.cat([torch.zeros(0, dtype=torch.uint8, device=device), *mine])
    ranks = gather_objects([cards[number] for number in wanted])
    sizes = [sum(card.bytes for card in of_rank) for of_rank in ranks]
    known = []
    for rank, (of_rank, received) in enumerate(zip(ranks, gather_bytes(flat, sizes), strict=True)):
        own = wanted if rank == this_rank() else [None] * len(of_rank)
        seen = _unflattened(of_rank, received)
        known += [_Known(*one) for one in zip(of_rank, seen, own, strict=True)]
    return sorted(known, key=lambda one: one.card.place)


def _kind(tensor: torch.Tensor) -> tuple[torch.dtype, torch.Size]:
    return tensor.dtype, tensor.shape


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)


def _unflattened(cards: Sequence[_Card], flat: torch.Tensor) -> Iterator[Seen]:
    """What was seen of every pack, from its bytes."""
    done = 0
    for card in cards:
        seen = {}
        for name, (dtype, shape) in card.kinds.items():
            count = shape.numel() * dtype.itemsize
            # A copy, as numbers must begin at a multiple of their size.
            seen[name] = flat[done : done + count].clone().view(dtype).view(shape)
            done += count
        yield seen
