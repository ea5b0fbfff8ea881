"""From single scores to a table: accuracy by kind of question, its interval, and what luck gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs

from mmcore.interfaces import KindScore, Question, Task

Z_95 = 1.959963984540054
"""Quantile of the normal distribution for a two-sided 95 % interval."""

Scored = list[tuple[Question, float]]
"""Questions with the scores of what was said."""


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share that was seen in ``count`` independent trials (Wilson, 1927)."""
    if count < 1:
        raise ValueError(f"an interval needs at least one trial, had {count}")
    square = Z_95**2 / count
    centre = (share + square / 2) / (1 + square)
    half = Z_95 / (1 + square) * math.sqrt(share * (1 - share) / count + square / count / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def best_constant(task: Task, questions: Sequence[Question]) -> float:
    """The mean score of the one answer that does best when it is given to every question."""
    answers = sorted({question.answer for question in questions})
    totals = (sum(task.score(question, answer) for question in questions) for answer in answers)
    return max(totals) / len(questions)


def score_by_kind(
    task: Task, questions: Sequence[Question], outputs: Sequence[str]
) -> list[KindScore]:
    """Scores of the kinds of question, in the order in which the kinds first appear; behind a kind
    that has several levels, those of its levels."""
    assert len(questions) == len(outputs), "one output per question"
    scored = [(one, task.score(one, said)) for one, said in zip(questions, outputs, strict=True)]
    summaries = []
    for kind, of_kind in _grouped(scored, lambda question: question.kind).items():
        summaries.append(_summary(task, kind, of_kind))
        of_levels = _grouped(of_kind, lambda question: question.level)
        if len(of_levels) > 1:
            summaries += [
                attrs.evolve(_summary(task, f"{kind} {level}", of_level), level=level)
                for level, of_level in of_levels.items()
            ]
    return summaries


def _grouped(scored: Scored, name: Callable[[Question], str]) -> dict[str, Scored]:
    """The questions of every name, in the order in which the names first appear."""
    groups: dict[str, Scored] = {}
    for question, score in scored:
        groups.setdefault(name(question), []).append((question, score))
    return groups


def _summary(task: Task, kind: str, scored: Scored) -> KindScore:
    count = len(scored)
    accuracy = sum(score for _, score in scored) / count
    low, high = wilson(accuracy, count)
    constant = best_constant(task, [question for question, _ in scored])
    chance = sum(question.chance for question, _ in scored) / count
    return KindScore(kind, count, accuracy, low, high, constant, chance)


def mean_accuracy(scores: Sequence[KindScore]) -> float:
    """Mean over the kinds of question; 0 where there are none. Levels count within their kinds."""
    whole = [score.accuracy for score in scores if not score.level]
    return sum(whole) / max(1, len(whole))


def apart(before: KindScore, after: KindScore) -> bool:
    """Whether the later score is better and the two intervals do not touch."""
    return after.low > before.high
