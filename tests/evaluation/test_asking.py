"""A task is asked: every distinct question once, answers in their places."""

from mmcore.evaluation.asking import ask
from mmcore.interfaces import Question, SampleKey, TextPart, World


class Echo:
    """An answerer that repeats the question, and remembers what it was shown."""

    def __init__(self):
        self.shown = []

    def answer(self, asked, *, max_new_tokens, on_answers=lambda count: None):
        self.shown += asked
        return [parts[0].text for _, parts in asked]


class Task:
    def questions(self):
        def one(row, kind, text):
            return Question(SampleKey("s", "f", row), kind, (TextPart(text, "user"),), "b")

        return [one(0, "x", "a"), one(0, "y", "a"), one(1, "x", "b")]

    def score(self, question, output):
        return float(output == question.answer)


def test_what_is_shown_twice_is_answered_once():
    answerer = Echo()
    questions, outputs, scores = ask(answerer, Task(), max_new_tokens=3, world=World())
    assert len(questions) == 3
    assert outputs == ["a", "a", "b"]
    assert len(answerer.shown) == 2
    assert {(score.kind, score.accuracy) for score in scores} == {("x", 0.5), ("y", 0.0)}
