"""From single scores to a table: accuracy by kind of question, its interval, and what luck gets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmcore.interfaces import KindScore, Question, Task

Z_95 = 1.959963984540054
"""Quantile of the normal distribution for a two-sided 95 % interval."""


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
    """Scores of the kinds of question, in the order in which the kinds first appear."""
    assert len(questions) == len(outputs), "one output per question"
    by_kind: dict[str, list[tuple[Question, float]]] = {}
    for question, output in zip(questions, outputs, strict=True):
        by_kind.setdefault(question.kind, []).append((question, task.score(question, output)))
    return [_summary(task, kind, scored) for kind, scored in by_kind.items()]


def _summary(task: Task, kind: str, scored: Sequence[tuple[Question, float]]) -> KindScore:
    count = len(scored)
    accuracy = sum(score for _, score in scored) / count
    low, high = wilson(accuracy, count)
    constant = best_constant(task, [question for question, _ in scored])
    return KindScore(kind, count, accuracy, low, high, constant)


def apart(before: KindScore, after: KindScore) -> bool:
    """Whether the later score is better and the two intervals do not touch."""
    return after.low > before.high
