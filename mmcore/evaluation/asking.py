"""Ask a model all questions of a task, spread over the ranks, and score the answers."""

from __future__ import annotations

from collections.abc import Sequence

from mmcore.evaluation.answering import Answerer
from mmcore.evaluation.scores import score_by_kind
from mmcore.interfaces import KindScore, Question, Task, World
from mmcore.training.ranks import gather_objects
from mmcore.training.stalls import note


def ask(
    answerer: Answerer, task: Task, *, max_new_tokens: int, world: World
) -> tuple[Sequence[Question], list[str], list[KindScore]]:
    """Every rank asks its share; all ranks return all questions, answers and scores.

    Raises:
        UnanswerableError: a question of the task cannot be shown to the model.
    """
    questions = task.questions()
    mine = questions[world.rank :: world.size]
    # Several questions may show the model the same: it answers once.
    shown = list(dict.fromkeys((question.key, question.parts) for question in mine))
    note("answering questions")
    told = answerer.answer(
        shown, max_new_tokens=max_new_tokens, on_answers=lambda more: note("answering questions")
    )
    said = dict(zip(shown, told, strict=True))
    answers = [said[question.key, question.parts] for question in mine]
    outputs = [""] * len(questions)
    for rank, share in enumerate(gather_objects(answers)):
        outputs[rank :: world.size] = share
    return questions, outputs, score_by_kind(task, questions, outputs)
