"""Ask a model all questions of a task, spread over the ranks, and score the answers."""

from __future__ import annotations

from collections.abc import Sequence

from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.scores import score_by_kind
from mmcore.interfaces import KindScore, Question, Task, World
from mmcore.training.ranks import gather_objects


def ask(
    answerer: Answerer, task: Task, *, max_new_tokens: int, world: World
) -> tuple[Sequence[Question], list[str], list[KindScore]]:
    """Every rank asks its share; all ranks return all questions, answers and scores.

    Raises:
        UnanswerableError: a question of the task cannot be shown to the model.
    """
    questions = task.questions()
    mine = questions[world.rank :: world.size]
    answers = answerer.answer(
        [(question.key, question.parts) for question in mine], max_new_tokens=max_new_tokens
    )
    outputs = [""] * len(questions)
    for rank, share in enumerate(gather_objects(answers)):
        outputs[rank :: world.size] = share
    return questions, outputs, score_by_kind(task, questions, outputs)
