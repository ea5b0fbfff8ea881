"""What a few repetitions allow to be said: means, spreads, intervals, ranks."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import attrs

from mmcore.evaluation.scores import wilson
from mmcore.interfaces import KindScore

SHUFFLES = 2000
"""Of a permutation test; its smallest p is 1 / (SHUFFLES + 1)."""


@attrs.frozen
class Summary:
    """Repetitions of one number.

    Attributes:
        mean: of them.
        spread: sample standard deviation; None of fewer than two.
        n: how many.
    """

    mean: float
    spread: float | None
    n: int


def summary(values: Sequence[float]) -> Summary | None:
    """Of those that are finite; None where none is."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    spread = statistics.stdev(finite) if len(finite) > 1 else None
    return Summary(statistics.fmean(finite), spread, len(finite))


@attrs.frozen
class Difference:
    """What the second of two points has more than the first, seed by seed.

    Attributes:
        mean: of the differences.
        half: half of its 95 % t-interval; None of fewer than two.
        n: seeds that both have.
    """

    mean: float
    half: float | None
    n: int

    @property
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.half is not None and abs(self.mean) > self.half


def difference(pairs: Sequence[tuple[float, float]], grain: float = 0.0) -> Difference | None:
    """Of values of the same seed: those of the second point less those of the first. None where no
    pair is finite.

    Args:
        grain: the values are multiples of this, such as one question of all that were asked. Their
            differences then spread at least as rounding does, grain / sqrt(6), also where few seeds
            happen to agree.
    """
    found = summary([later - earlier for earlier, later in pairs])
    if found is None:
        return None
    half = None
    if found.spread is not None:
        spread = max(found.spread, grain / math.sqrt(6))
        half = t_quantile(found.n - 1) * spread / math.sqrt(found.n)
    return Difference(found.mean, half, found.n)


def t_quantile(degrees: int, within: float = 0.95) -> float:
    """Between minus this and this lies so much of Student's t distribution."""
    low, high = 0.0, 1.0
    while t_within(high, degrees) < within:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if t_within(middle, degrees) < within:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_within(limit: float, degrees: int) -> float:
    """Probability that Student's t lies between minus ``limit`` and ``limit``: the finite series of
    Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    if degrees < 1:
        raise ValueError(f"Student's t needs at least one degree of freedom, had {degrees}")
    angle = math.atan(limit / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def pooled(scores: Sequence[KindScore]) -> KindScore:
    """The answers to one kind of question, of all seeds together, with the Wilson interval of
    their sum."""
    questions = sum(one.questions for one in scores)

    def mean(name: str) -> float:
        return math.fsum(getattr(one, name) * one.questions for one in scores) / questions

    accuracy = min(1.0, mean("accuracy"))
    low, high = wilson(accuracy, questions)
    return KindScore(
        scores[0].kind, questions, accuracy, low, high, mean("constant"), mean("chance"),
        scores[0].level,
    )  # fmt: skip


def at_chance(score: KindScore) -> bool:
    """Whether the interval does not clear what luck gets: the score shows nothing."""
    return score.low <= score.luck


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, with mean ranks for ties; 0 where one of them does not vary."""
    assert len(one) == len(other), "ranks are compared pair by pair"
    ranks, others = _ranks(one), _ranks(other)
    if len(set(ranks)) < 2 or len(set(others)) < 2:
        return 0.0
    return statistics.correlation(ranks, others)


def permutation_p(one: Sequence[float], other: Sequence[float]) -> float:
    """How often chance alone gives a rank correlation at least as far from 0: by shuffling, always
    in the same way, so that the same numbers give the same answer."""
    seen = abs(rank_correlation(one, other)) - 1e-9
    ranks, shuffled = _ranks(one), list(_ranks(other))
    rng = random.Random(0)
    as_far = 0
    for _ in range(SHUFFLES):
        rng.shuffle(shuffled)
        as_far += abs(rank_correlation(ranks, shuffled)) >= seen
    return (as_far + 1) / (SHUFFLES + 1)


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    first: dict[float, int] = {}
    count: dict[float, int] = {}
    for place, value in enumerate(ordered):
        first.setdefault(value, place)
        count[value] = count.get(value, 0) + 1
    return [first[value] + (count[value] - 1) / 2 for value in values]
