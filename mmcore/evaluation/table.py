"""The results of a run as tables: what it can do now, and what every stage added."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from mmcore.evaluation.scores import apart
from mmcore.interfaces import Evaluation, KindScore


def final_table(evaluations: Sequence[Evaluation]) -> Table:
    """Per task and kind: the last accuracy with its interval, beside what luck gets."""
    table = _table(
        "Held-out questions after the last stage: % right [95 % interval]",
        ["asked", "right", "luck", "above"],
    )
    for evaluation in last_of_each_task(evaluations):
        for score in evaluation.scores:
            table.add_row(
                evaluation.stage,
                score.kind,
                str(score.questions),
                with_interval(score),
                f"{100 * score.luck:.0f}",
                "yes" if score.low > score.luck else "no",
            )
    return table


def stage_table(evaluations: Sequence[Evaluation], stages: Sequence[str]) -> Table:
    """Per stage, on questions of its own kind: before against after."""
    table = _table(
        "Held-out questions of every stage's own kind: % right [95 % interval]",
        ["before", "after", "apart"],
    )
    for number, stage in enumerate(stages):
        earlier = stages[number - 1] if number else ""
        before = _scores(evaluations, stage, earlier)
        after = _scores(evaluations, stage, stage)
        for kind in after:
            if kind in before:
                table.add_row(
                    stage,
                    kind,
                    with_interval(before[kind]),
                    with_interval(after[kind]),
                    "yes" if apart(before[kind], after[kind]) else "no",
                )
    return table


def _table(title: str, numbers: Sequence[str]) -> Table:
    """A table that fits 80 columns, beginning with the stage and the kind of question."""
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1))
    for heading in ("stage", "question"):
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def with_interval(score: KindScore) -> str:
    """``59 [48, 69]`` in percent: the accuracy and its 95 % interval."""
    return f"{100 * score.accuracy:.0f} [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def last_of_each_task(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The newest result of every task, in the order of the tasks."""
    newest: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        newest[evaluation.task] = evaluation
    return list(newest.values())


def _scores(evaluations: Sequence[Evaluation], stage: str, after: str) -> dict[str, KindScore]:
    return {
        score.kind: score
        for evaluation in evaluations
        if evaluation.stage == stage and evaluation.after == after
        for score in evaluation.scores
    }
