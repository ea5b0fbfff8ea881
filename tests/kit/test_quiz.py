"""Questions about drawn pictures have exactly one right answer, and it is the one given."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmcore.kit.drawing import INKS, PAPERS, TOPICS, Picture, Written, draw_picture
from mmcore.kit.quiz import ORDINALS, Asked, questions, text_questions

seeds = st.integers(0, 2**32)
BOX = (0.0, 0.0, 1.0, 1.0)


def picture(*written: Written, background: str = "white") -> Picture:
    return Picture(Image.new("RGB", (4, 4)), written, background)


def test_one_text_in_the_middle():
    shown = picture(Written("42", "red", "", BOX))
    assert set(questions([shown], random.Random(0))) == {
        Asked("number", "What does it say?", "42"),
        Asked("colour", "What colour is the number?", "red"),
        Asked("background", "What colour is the background?", "white"),
    }


def test_several_texts_are_asked_for_by_their_places():
    shown = picture(
        Written("CAT", "blue", "top left", BOX),
        Written("17", "green", "right", BOX),
        background="pink",
    )
    assert set(questions([shown], random.Random(0))) == {
        Asked("background", "What colour is the background?", "pink"),
        Asked("reading", "What is written at the top left?", "CAT"),
        Asked("colour", "What colour is the word at the top left?", "blue"),
        Asked("place", "Where is CAT?", "top left"),
        Asked("number", "What is written on the right?", "17"),
        Asked("colour", "What colour is the number on the right?", "green"),
        Asked("place", "Where is 17?", "right"),
    }


def test_a_text_on_two_pictures_is_never_searched_for():
    shown = [picture(Written(text, "red", "", BOX)) for text in ("42", "17", "42")]
    searched = [one for one in questions(shown, random.Random(0)) if one.kind == "which picture"]
    assert searched == [Asked("which picture", "Which picture says 17?", "second")]


def test_every_single_text_of_several_pictures_can_be_asked_for():
    shown = [picture(Written("42", "red", "", BOX)), picture(Written("DOT", "blue", "", BOX))]
    assert set(questions(shown, random.Random(0))) == {
        Asked("which picture", "Which picture says 42?", "first"),
        Asked("which picture", "Which picture says DOT?", "second"),
        Asked("number", "What does the first picture say?", "42"),
        Asked("reading", "What does the second picture say?", "DOT"),
        Asked("colour", "What colour is the text of the first picture?", "red"),
        Asked("colour", "What colour is the text of the second picture?", "blue"),
    }


@settings(deadline=None, max_examples=60)
@given(seed=seeds, topics=st.lists(st.sampled_from(sorted(TOPICS)), min_size=1, max_size=4))
def test_no_question_has_two_answers_and_every_answer_is_visible(seed, topics):
    rng = random.Random(seed)
    shown = [draw_picture(topic, rng, held_out=False) for topic in topics]
    asked = questions(shown, rng)
    assert len({one.question for one in asked}) == len(asked)
    texts = {item.text for one in shown for item in one.written}
    places = {item.place for one in shown for item in one.written}
    answers = {
        "number": texts,
        "reading": texts,
        "colour": set(INKS),
        "background": set(PAPERS),
        "place": places - {""},
        "which picture": set(ORDINALS[: len(shown)]),
    }
    for one in asked:
        assert one.answer in answers[one.kind]


@pytest.mark.parametrize("count", [0, 5])
def test_too_few_or_too_many_pictures_are_refused(count):
    with pytest.raises(ValueError, match=f"got {count} pictures"):
        questions([picture()] * count, random.Random(0))


def test_questions_without_pictures_have_right_answers():
    for seed in range(50):
        asked = {one.kind: one for one in text_questions(random.Random(seed), held_out=False)}
        one, other = re.findall(r"\d+", asked["larger"].question)
        assert int(asked["larger"].answer) == max(int(one), int(other))
        assert int(asked["smaller"].answer) == min(int(one), int(other))
        word = asked["first letter"].question.split()[-1].rstrip("?")
        assert word == asked["first letter"].answer + word[1:]
        assert word == word[:-1] + asked["last letter"].answer
