"""Intervals and constant answers against values computed by hand or from the literature."""

import pytest

from mmcore.evaluation.scores import apart, best_constant, mean_accuracy, score_by_kind, wilson
from mmcore.interfaces import KindScore, Question, SampleKey


class ExactTask:
    def questions(self):
        return []

    def score(self, question, output):
        return float(question.answer == output)


def ask(kind, answer):
    return Question(SampleKey("s", "f", 0), kind, (), answer)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # Values of the Wilson interval without continuity correction: Newcombe (1998), table I.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_published_values(right, count, low, high):
    assert wilson(right / count, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_refuses_no_trials():
    with pytest.raises(ValueError, match="at least one trial"):
        wilson(0.0, 0)


def test_constant_answer_is_the_most_frequent_one():
    questions = [ask("colour", answer) for answer in ["red", "red", "blue", "green"]]
    assert best_constant(ExactTask(), questions) == 0.5


def test_scores_are_kept_apart_by_kind_in_order_of_appearance():
    questions = [ask("place", "left"), ask("colour", "red"), ask("place", "right")]
    scores = score_by_kind(ExactTask(), questions, ["left", "blue", "left"])
    assert [(s.kind, s.questions, s.accuracy) for s in scores] == [
        ("place", 2, 0.5),
        ("colour", 1, 0.0),
    ]


def test_levels_of_a_kind_follow_it_and_chance_is_their_mean():
    def at(level, answer, chance):
        return Question(SampleKey("s", "f", 0), "count", (), answer, level, chance)

    questions = [at("few", "1", 0.5), at("many", "7", 0.1), at("few", "2", 0.5), ask("k", "x")]
    scores = score_by_kind(ExactTask(), questions, ["1", "1", "1", "x"])
    assert [(s.kind, s.questions, s.accuracy) for s in scores] == [
        ("count", 3, pytest.approx(1 / 3)),
        ("count few", 2, 0.5),
        ("count many", 1, 0.0),
        ("k", 1, 1.0),
    ]
    assert [s.level for s in scores] == ["", "few", "many", ""]
    assert [s.chance for s in scores] == pytest.approx([1.1 / 3, 0.5, 0.1, 0.0])


def test_levels_count_once_in_the_mean_of_the_kinds():
    scores = [
        KindScore("count", 4, 0.5, 0.0, 1.0, 0.2),
        KindScore("count few", 2, 1.0, 0.0, 1.0, 0.2, level="few"),
        KindScore("count many", 2, 0.0, 0.0, 1.0, 0.2, level="many"),
        KindScore("place", 4, 1.0, 0.0, 1.0, 0.2),
    ]
    assert mean_accuracy(scores) == 0.75
    assert mean_accuracy([]) == 0.0


def test_a_kind_of_one_level_is_not_told_twice():
    questions = [Question(SampleKey("s", "f", 0), "count", (), "1", "few")]
    assert [s.kind for s in score_by_kind(ExactTask(), questions, ["1"])] == ["count"]


def test_luck_is_the_better_of_constant_and_chance():
    assert KindScore("k", 9, 0.1, 0.0, 0.3, 0.2).luck == 0.2
    assert KindScore("k", 9, 0.1, 0.0, 0.3, 0.2, 0.5).luck == 0.5


def test_apart_needs_a_gap_and_the_right_direction():
    worse, better = KindScore("k", 9, 0.1, 0.0, 0.3, 0.2), KindScore("k", 9, 0.9, 0.5, 1.0, 0.2)
    overlapping = KindScore("k", 9, 0.5, 0.3, 0.6, 0.2)
    assert apart(worse, better)
    assert not apart(better, worse)
    assert not apart(overlapping, better)
