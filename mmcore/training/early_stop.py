"""End a stage early, where what is measured has stopped to get better."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from mmcore.training.progress import Progress

VALIDATION, SCORE = "validation/", "score/"
"""Prefixes of what is measured now and then; everything else is measured in every step."""

BEST, SINCE, SEEN = "best", "since", "seen"
"""What a run remembers of a measure: its best value, and how often it was measured since, and at
all."""


class MissingMeasureError(ValueError):
    """What a stage's early stop watches is not measured."""


@attrs.frozen(kw_only=True)
class EarlyStop:
    """Watches one measure; its memory is in the run's progress, so a resumed run stops alike.

    Attributes:
        measure: ``loss`` or another value of every step, ``validation/NAME``, or ``score/TASK``,
            the score of a task that validation asks.
        patience: so many measurements in a row without a better one end the stage.
        min_delta: how much better a value must be to count.
    """

    measure: str
    patience: int
    min_delta: float = 0.0

    @property
    def higher_is_better(self) -> bool:
        return self.measure.startswith(SCORE)

    def heard(self, progress: Progress, values: Mapping[str, float]) -> Progress:
        """The progress after these values were measured; the same on every rank where they are.

        A value that is not finite is no better than any.

        Raises:
            MissingMeasureError: the measure should be among the values, and is not.
        """
        value = self._found(values)
        if value is None:
            return progress
        best = progress.watched.get(BEST)
        better = math.isfinite(value) and (best is None or self._beats(value, best))
        return attrs.evolve(
            progress,
            watched={
                **({BEST: value} if better else {} if best is None else {BEST: best}),
                SINCE: 0.0 if better else progress.watched.get(SINCE, 0.0) + 1,
                SEEN: progress.watched.get(SEEN, 0.0) + 1,
            },
        )

    def over(self, progress: Progress) -> bool:
        """Whether patience is at its end."""
        return progress.watched.get(SINCE, 0.0) >= self.patience

    def check_seen(self, progress: Progress) -> None:
        """At a stage's end.

        Raises:
            MissingMeasureError: the measure was never measured.
        """
        if not progress.watched.get(SEEN):
            raise MissingMeasureError(
                f"stage {progress.stage!r} came to its end, and {self.measure!r}, which its "
                "early_stop watches, was never measured; let a [validation] table measure it, or "
                "leave early_stop out"
            )

    def told(self, progress: Progress) -> str:
        """Why the stage ended, for people."""
        times = "1 measurement" if self.patience == 1 else f"{self.patience} measurements"
        best = progress.watched.get(BEST)
        if best is None:
            return f"stopped early: {self.measure} was not finite in {times}"
        change, beyond = ("risen", "above") if self.higher_is_better else ("fallen", "below")
        least = f"more than {self.min_delta:g} " if self.min_delta else ""
        return (
            f"stopped early: {self.measure} has not {change} {least}{beyond} {best:.6g} in {times}"
        )

    def _beats(self, value: float, best: float) -> bool:
        gain = value - best if self.higher_is_better else best - value
        return gain > self.min_delta

    def _found(self, values: Mapping[str, float]) -> float | None:
        """The measure among the values; None where they are of another kind."""
        name = self.measure
        if name.startswith(SCORE):  # validation reports the tasks that it asks among its own
            name = VALIDATION + name.removeprefix(SCORE)
        if name in values:
            return values[name]
        if name.startswith(VALIDATION) == any(one.startswith(VALIDATION) for one in values):
            raise MissingMeasureError(
                f"early_stop watches {self.measure!r}, which is not measured; measured are: "
                f"{', '.join(sorted(values))}"
            )
        return None
