"""Drawn pictures show what they claim to show, and keep held-out texts out of training."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.kit.drawing import INKS, PAPERS, PLACES, TOPICS, draw_picture, inks_for
from mmcore.kit.writing import HELD_OUT, TRAINING

seeds = st.integers(0, 2**32)


@pytest.mark.parametrize("kind", ["number", "word"])
def test_training_and_held_out_texts_are_disjoint(kind):
    assert not set(TRAINING[kind]) & set(HELD_OUT[kind])
    share = len(HELD_OUT[kind]) / (len(HELD_OUT[kind]) + len(TRAINING[kind]))
    assert 0.15 < share < 0.25


@pytest.mark.parametrize("kind", ["number", "word"])
def test_training_shows_every_character_of_held_out_texts_at_its_place(kind):
    def places(texts):
        return {(index, character) for text in texts for index, character in enumerate(text)}

    assert places(HELD_OUT[kind]) <= places(TRAINING[kind])


def test_every_digit_has_colours_on_both_sides():
    for digit in TRAINING["digit"]:
        training, held_out = (inks_for(digit, held_out=held) for held in (False, True))
        assert training
        assert held_out
        assert sorted(training + held_out) == sorted(INKS)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, topic=st.sampled_from(sorted(TOPICS)))
def test_a_held_out_picture_shares_no_text_with_training(seed, topic):
    for held_out, pools in ((False, TRAINING), (True, HELD_OUT)):
        picture = draw_picture(topic, random.Random(seed), held_out=held_out)
        allowed = {text for kind in TOPICS[topic].kinds for text in pools[kind]}
        for item in picture.written:
            assert item.text in allowed
            assert item.colour in inks_for(item.text, held_out=held_out)


@settings(deadline=None, max_examples=60)
@given(seed=seeds, topic=st.sampled_from(sorted(TOPICS)), held_out=st.booleans())
def test_ink_of_the_named_colour_fills_each_box_and_nothing_else(seed, topic, held_out):
    picture = draw_picture(topic, random.Random(seed), held_out=held_out)
    pixels_HWC = np.asarray(picture.image).astype(int)
    inked_HW = np.abs(pixels_HWC - PAPERS[picture.background]).sum(-1) > 0
    covered_HW = np.zeros_like(inked_HW)
    for item in picture.written:
        x0, y0, x1, y1 = (
            round(share * side)
            for share, side in zip(item.box, picture.image.size * 2, strict=True)
        )
        inside_HW = inked_HW[y0:y1, x0:x1]
        assert inside_HW[0].any()
        assert inside_HW[-1].any()
        assert inside_HW[:, 0].any()
        assert inside_HW[:, -1].any()
        covered_HW[y0:y1, x0:x1] = True
        darkest = pixels_HWC[y0:y1, x0:x1].reshape(-1, 3)
        nearest = min(INKS, key=lambda ink: np.abs(darkest - INKS[ink]).sum(1).min())
        assert nearest == item.colour
    assert not (inked_HW & ~covered_HW).any()


@settings(deadline=None, max_examples=60)
@given(seed=seeds, topic=st.sampled_from(sorted(TOPICS)))
def test_the_place_is_the_cell_that_holds_the_box(seed, topic):
    picture = draw_picture(topic, random.Random(seed), held_out=False)
    cell = TOPICS[topic].cell
    names = {name: (column, row) for cells in PLACES.values() for name, column, row in cells}
    assert len({item.place for item in picture.written}) == len(picture.written)
    for item in picture.written:
        x0, y0, x1, y1 = item.box
        column, row = names[item.place]
        width, height = picture.image.width / cell, picture.image.height / cell
        assert column <= x0 * width < x1 * width <= column + 1
        assert row <= y0 * height < y1 * height <= row + 1


def test_the_same_seed_draws_the_same_picture():
    first, again, other = (
        draw_picture("pages", random.Random(seed), held_out=False) for seed in (3, 3, 4)
    )
    assert first.image.tobytes() == again.image.tobytes()
    assert first.written == again.written
    assert first.written != other.written


def test_tilted_texts_are_turned():
    topic = TOPICS["tilted"]
    assert topic.rotation > 0
    heights = {
        round(item.box[3] - item.box[1], 2)
        for seed in range(30)
        for item in draw_picture("tilted", random.Random(seed), held_out=False).written
    }
    assert len(heights) > 5


def test_an_unknown_topic_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'numbrs'.*'numbers'"):
        draw_picture("numbrs", random.Random(0), held_out=False)
