"""A task asks the model questions whose answers are known, and scores what it says."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

import attrs

from mmcore.interfaces.records import Part, SampleKey
from mmcore_registry import Spec, doc


@attrs.frozen
class Question:
    """One question of a task.

    Attributes:
        key: where it comes from.
        kind: the kind of question; scores are averaged by it.
        parts: what the model is shown: pictures and the user's words.
        answer: the right answer.
        level: how hard it is among questions of its kind, in words; may be empty. Where a kind
            has several levels, scores are averaged by them as well.
        chance: the mean score of the best answers that nothing but the words of the question
            leads to, where the task knows it.
    """

    key: SampleKey
    kind: str
    parts: tuple[Part, ...]
    answer: str
    level: str = ""
    chance: float = 0.0


@attrs.frozen
class KindScore:
    """How one kind of question was answered, or one level of a kind.

    Attributes:
        kind: the kind of question, with the level behind it where only that was looked at.
        questions: how many were asked.
        accuracy: mean score.
        low, high: 95 % Wilson score interval of the accuracy.
        constant: the most that any one fixed answer would have scored on these questions.
        chance: what the words of the questions alone lead to, where the task knows it, else 0.
        level: the level that was looked at, whose questions count for their whole kind as well;
            empty for a kind.
    """

    kind: str
    questions: int
    accuracy: float
    low: float
    high: float
    constant: float
    chance: float = 0.0
    level: str = ""

    @property
    def luck(self) -> float:
        """What is reached without a look at the pictures: the better of constant and chance."""
        return max(self.constant, self.chance)


@attrs.frozen
class Evaluation:
    """The result of one task at one moment of a run.

    Attributes:
        task: label of the task, unique within the recipe.
        stage: the stage whose kind of question it asks, or empty.
        after: the stage that had ended when it was asked; empty before the first.
        step: steps done by then.
        scores: one for every kind of question.
    """

    task: str
    stage: str
    after: str
    step: int
    scores: tuple[KindScore, ...]


class Task(Protocol):
    """A fixed list of questions and the rule by which answers are scored."""

    def questions(self) -> Sequence[Question]:
        """The questions, the same ones in the same order every time."""

    def score(self, question: Question, output: str) -> float:
        """0 (wrong) to 1 (right)."""


@attrs.frozen(kw_only=True)
class TaskSpec(Spec):
    """Describes an evaluation that is run before the first stage and after every one."""

    kind: ClassVar[str] = "task"

    samples: int = attrs.field(
        default=200, validator=attrs.validators.ge(1), metadata=doc("how many questions are asked")
    )
    max_new_tokens: int = attrs.field(
        default=32,
        validator=attrs.validators.ge(1),
        metadata=doc("longest answer", unit="tokens"),
    )

    stage: str = attrs.field(
        default="",
        metadata=doc(
            "the stage whose kind of question this is: asked with its tiler, and shown before "
            "against after it; empty means the last stage's tiler"
        ),
    )

    @abstractmethod
    def build(self) -> Task:
        """The task."""
