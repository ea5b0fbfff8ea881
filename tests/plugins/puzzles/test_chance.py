"""Chance is what it says: who answers without looking gets it, and no more."""

import random
from collections import Counter, defaultdict

import pytest

from mmcore.evaluation.scores import score_by_kind, wilson
from mmcore.kit.drawing import PAPERS
from mmcore.kit.writing import HELD_OUT
from mmcore.testing import check_spec
from mmcore_puzzles.levels import KINDS, PLACES
from mmcore_puzzles.task_spec import PuzzleSpec

CHANCE = {
    "colour": 1 / 4,
    "reading": 1 / 18,
    "place": 1 / 9,
    "count": 1 / 4,
    "compare": 1 / 4,
    "retrieve": (1 / 2 + 1 / 4) / 2,
}
"""By hand: four papers, 18 held-out numbers, nine places, counts to four, four changes, two or four
pictures."""


@pytest.fixture
def task(small):
    def make(samples, **keys):
        rows = {"rows": samples, "held_out": True, "kinds": KINDS, **keys}
        return PuzzleSpec(samples=samples, data=small(**rows)).build()

    return make


def chi_square(counts, options):
    """Pearson's statistic against options that are equally likely."""
    expected = sum(counts.values()) / len(options)
    return sum((counts[option] - expected) ** 2 / expected for option in options)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_right_equally_often(small, kind):
    source = small(kinds=(kind,), held_out=True).open()
    by_options = defaultdict(Counter)
    for number in range(1800):
        asked = source.puzzle(number).asked[0]
        by_options[asked.options][asked.answer] += 1
    for options, counts in by_options.items():
        assert set(counts) == set(options)
        # Mean and spread of chi-square; four spreads above it are one in thousands.
        freedom = len(options) - 1
        assert chi_square(counts, options) < freedom + 4 * (2 * freedom) ** 0.5 + 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_of_a_question_do_not_tell_its_answer(small, kind):
    """A student who has learned, for every question by its words, which answer came most often."""
    source = small(kinds=(kind,), held_out=True).open()
    seen = defaultdict(Counter)
    for number in range(1200):
        asked = source.puzzle(number).asked[0]
        seen[asked.question, asked.options][asked.answer] += 1
    right = chance = 0
    for number in range(1200, 2000):
        asked = source.puzzle(number).asked[0]
        counts = seen[asked.question, asked.options]
        right += bool(counts) and counts.most_common(1)[0][0] == asked.answer
        chance += 1 / len(asked.options)
    low, high = wilson(right / 800, 800)
    assert low - 0.01 <= chance / 800 <= high + 0.01


def test_a_random_answerer_gets_the_chance_that_is_reported(task):
    one = task(240)
    options = {
        "colour": list(PAPERS),
        "reading": HELD_OUT["number"],
        "place": [name for row in PLACES for name in row],
        "count": list("1234"),
        "compare": ["colour", "shape", "place", "nothing"],
    }
    rng = random.Random(3)
    outputs = []
    often = list(one.questions()) * 40
    for question in often:
        pictures = question.level.partition(" ")[0]
        choice = options.get(question.kind) or [str(n + 1) for n in range(int(pictures))]
        outputs.append(rng.choice(choice))
    scores = {score.kind: score for score in score_by_kind(one, often, outputs)}
    for kind, chance in CHANCE.items():
        assert scores[kind].chance == pytest.approx(chance)
        spread = (chance * (1 - chance) / scores[kind].questions) ** 0.5
        assert abs(scores[kind].accuracy - chance) < 3 * spread
    assert scores["retrieve 2 pictures"].chance == 1 / 2
    assert scores["retrieve 4 pictures"].chance == 1 / 4


def test_right_answers_score_one_by_kind_and_level(task):
    one = task(96)
    answers = [question.answer for question in one.questions()]
    scores = score_by_kind(one, one.questions(), answers)
    assert {score.accuracy for score in scores} == {1.0}
    asked = {score.kind: score.questions for score in scores}
    assert [asked[kind] for kind in KINDS] == [16] * 6
    assert asked["reading 1x1 9px"] == asked["reading 2x2 12px"] == 4
    assert one.score(one.questions()[0], f" {answers[0].upper()}.\n") == 1.0
    assert one.score(one.questions()[0], f"{answers[0]} {answers[0]}") == 0.0


def test_questions_end_before_the_answer_and_are_the_same_every_time(task):
    one = task(10)
    assert one.questions() == one.questions() == task(10).questions()
    for question in one.questions():
        assert {part.role for part in question.parts} == {"user"}
        assert str(question.key).startswith("puzzles:held-out-0-00000:")


def test_the_task_is_sound(small):
    check_spec(PuzzleSpec(samples=10, data=small(rows=10, held_out=True)))


def test_only_held_out_puzzles_are_asked(small):
    from mmcore_blip3.spec import LlavaJsonSpec

    def faults(data, samples=10):
        return [f"{p.key} {p.message}" for p in PuzzleSpec(samples=samples, data=data).problems()]

    assert faults(small(rows=10)) == [
        "data.synthetic is not held out, and training may show it; wanted held_out = true"
    ]
    assert faults(small(rows=9, held_out=True)) == ["samples is 10, and data.synthetic.rows 9"]
    assert faults(LlavaJsonSpec(path="x.json")) == ["data.use is 'llava-json', wanted 'puzzles'"]
