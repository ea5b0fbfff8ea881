"""Validation: the loss on rows that are never trained on, every so many steps of a stage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import attrs
import torch

from mmcore.interfaces import PackedBatch, ValidationReport
from mmcore.training.comparing import Comparison, compares, with_said
from mmcore.training.guards import memory_told
from mmcore.training.measures import StepWatch
from mmcore.training.progress import Progress
from mmcore.training.ranks import gather_floats, gather_objects
from mmcore.training.source_losses import losses_by_source, sums_by_source
from mmcore.training.stalls import note
from mmcore.training.step_facts import StepFacts, facts_of, shared

if TYPE_CHECKING:
    from mmcore.training.stage import StageRun

LOSS = "loss"
"""What the best checkpoint is kept by: the loss, or the name of a task."""


class ValidationError(ValueError):
    """A stage cannot be validated as the recipe says."""


class HeldOutPacks(Protocol):
    """This rank's share of the held-out rows."""

    @property
    def blank(self) -> PackedBatch: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[PackedBatch]: ...


@attrs.frozen
class _Data:
    """The packs of a rank, as the loop's exchange knows a step's."""

    batches: list[PackedBatch]
    rejected: tuple[()] = ()
    counts: Mapping[str, float] = attrs.field(factory=dict)
    wait_seconds: float = 0.0


class Validation:
    """Holds the model to the same rows every time.

    Args:
        packs: this rank's.
        every_steps: of the stage, between two validations; the stage's end has one as well.
        keep_best: by what a validation is the best: ``loss``, the name of a task (mean of its
            scores), or empty: none is.
        best: the best value of an earlier life of the stage.
        ask: the scores of tasks by name, each between 0 and 1, and the same on every rank.
    """

    def __init__(
        self,
        packs: HeldOutPacks,
        *,
        every_steps: int,
        keep_best: str = "",
        best: float | None = None,
        ask: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._packs, self._every_steps, self._ask = packs, every_steps, ask
        self._keep_best = keep_best
        self._best = math.inf if best is None else _cost(keep_best, best)

    def due(self, progress: Progress, last: bool) -> bool:
        """Whether it is time; it always is after the ``last`` step of a stage."""
        return last or progress.stage_step % self._every_steps == 0

    def validate(self, run: StageRun, progress: Progress, watch: StepWatch) -> ValidationReport:
        """Forward of every held-out pack, on all ranks together.

        Ranks enter the model equally often: one with fewer packs runs blank ones.

        Raises:
            ValidationError: on all ranks, where no row had anything that is learned.
        """
        began = time.perf_counter()
        with run.segment_losses.apart(), run.told.apart():
            values, facts = self._losses(run, watch.measured.sources, progress.step)
        values |= {
            "validation/labels": float(facts.labels),
            "validation/samples": float(len(facts.keys)),
        }
        values |= {f"validation/{name}": score for name, score in self._ask().items()}
        values["validation/seconds"] = time.perf_counter() - began
        return ValidationReport(progress.stage, progress.step, values, self._is_best(values))

    def _losses(
        self, run: StageRun, sources: Sequence[str], step: int
    ) -> tuple[dict[str, float], StepFacts]:
        count, seen = max(gather_objects(len(self._packs))), list[StepFacts]()
        total = torch.zeros(len(run.objectives), dtype=torch.float64, device=run.engine.device)
        for place, batch in enumerate(self._compared(run, count, step), start=1):
            note(f"validation: pack {place} of {count}")
            seen.append(facts_of(_Data([batch]), run.objectives))
            with memory_told(batch, step):
                total += run.engine.evaluate(batch, [1.0] * len(run.objectives))
        facts = shared(_together(seen, run))
        if not facts.labels:
            raise ValidationError(
                f"step {step}, stage {run.name!r}: no held-out row could be used, so validation "
                "would be of nothing; mmcore data check RECIPE says what is wrong with rows"
            )
        told = run.told.totals(total.device)
        by_source = sums_by_source(run.segment_losses.samples(), sources)
        mine = [*total.tolist(), *told.tolist(), *by_source]
        sums = [sum(column) for column in zip(*gather_floats(mine), strict=True)]
        means = [one / divisor for one, divisor in zip(sums, facts.divisors, strict=False)]
        known = len(means) + len(told)
        names = run.objective_names
        values = {"loss": sum(one * weight for one, weight in zip(means, run.weights, strict=True))}
        if len(means) > 1:
            values |= {f"loss/{name}": one for name, one in zip(names, means, strict=True)}
        values |= run.told.means(sums[len(means) : known], facts.divisors, names)
        if run.segment_losses.heard:
            values |= losses_by_source(sums[known:], facts.source_labels, sources)
        return {f"validation/{name}": one for name, one in values.items()}, facts

    def _compared(self, run: StageRun, count: int, step: int) -> Iterator[PackedBatch]:
        """The packs, with what comparisons say of them: all of a validation's are compared as those
        of a step are, and to that end made twice, as not all of them may find room at once."""
        if not compares(run):
            yield from self._padded(count)
            return
        comparison = Comparison(run, step)
        for batch in self._padded(count):
            comparison.look(batch)
        said = comparison.said(0)  # the same draw in every validation
        for batch, one in zip(self._padded(count), said, strict=True):
            yield with_said(batch, one)

    def _padded(self, count: int) -> Iterator[PackedBatch]:
        made = 0
        for batch in self._packs:
            made += 1
            yield batch
        for _ in range(made, count):
            yield self._packs.blank

    def _is_best(self, values: Mapping[str, float]) -> bool:
        if not self._keep_best:
            return False
        cost = _cost(self._keep_best, values[f"validation/{self._keep_best}"])
        if not cost < self._best:  # nor where it is not a number
            return False
        self._best = cost
        return True


def _cost(keep_best: str, value: float) -> float:
    """The lower the better: a loss as it is, a score turned round."""
    return value if keep_best == LOSS else -value


def _together(seen: list[StepFacts], run: StageRun) -> StepFacts:
    """What a rank knows of all its packs; their tensors are gone by now."""
    labels: dict[str, int] = {}
    for facts in seen:
        for source, count in facts.source_labels.items():
            labels[source] = labels.get(source, 0) + count
    nothing = facts_of(_Data([]), run.objectives)
    if not seen:
        return nothing
    return attrs.evolve(
        nothing,
        terms=tuple(map(sum, zip(*(facts.terms for facts in seen), strict=True))),
        labels=sum(facts.labels for facts in seen),
        source_labels=labels,
        keys=tuple(key for facts in seen for key in facts.keys),
    )
