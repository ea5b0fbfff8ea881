"""Nothing that evaluation shows is ever shown in training, whatever the knobs and seeds."""

import itertools

import pytest

from mmcore.kit.drawing import INKS
from mmcore_puzzles.levels import KINDS, LETTERS
from mmcore_puzzles.pools import SHAPES, Pool

SIDES = [Pool(held_out=False), Pool(held_out=True)]


def things(spec, count):
    source = spec.open()
    for number in range(count):
        for scene in source.puzzle(number).scenes:
            yield from scene.things


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_no_coloured_shape_and_no_place_is_shown_on_both_sides(small, kind):
    shown, where = {}, {}
    for held_out, seed in itertools.product((False, True), (0, 1)):
        # The same seeds on both sides, and everything at its largest.
        spec = small(kinds=(kind,), held_out=held_out, seed=seed, grid=(1, 2), others=(0, 3, 7))
        for thing in things(spec, 250):
            content = thing.name if thing.is_text else (thing.ink, thing.name)
            shown.setdefault(held_out, set()).add(content)
            where.setdefault(held_out, set()).add((thing.x, thing.y))
    assert len(shown[True]) > 10
    assert len(shown[False]) > 20
    assert shown[True].isdisjoint(shown[False])
    assert len(where[True]) > 100
    assert where[True].isdisjoint(where[False])


@pytest.mark.parametrize("vocabulary", LETTERS)
def test_vocabularies_are_divided_and_share_their_letters(vocabulary):
    training, held_out = (pool.texts(vocabulary) for pool in SIDES)
    assert set(training).isdisjoint(held_out)
    assert {len(text) for text in (*training, *held_out)} == {LETTERS[vocabulary]}
    for place in range(LETTERS[vocabulary]):
        assert {text[place] for text in held_out} <= {text[place] for text in training}


def test_a_long_word_never_has_a_half_of_the_other_side():
    training, held_out = (set(pool.texts("words")) for pool in SIDES)
    for words, pool in zip((training, held_out), SIDES, strict=True):
        assert {half for text in pool.texts("long words") for half in (text[:3], text[3:])} == words


def test_colours_and_shapes_are_all_shown_in_training_and_cannot_stand_for_each_other():
    training, held_out = ({(look.ink, look.shape) for look in pool.looks} for pool in SIDES)
    assert training | held_out == set(itertools.product(INKS, SHAPES))
    assert training.isdisjoint(held_out)
    for looks in (training, held_out):
        for ink in INKS:
            assert sum(look[0] == ink for look in looks) >= 2
        for shape in SHAPES:
            assert sum(look[1] == shape for look in looks) >= 2


def test_every_small_room_has_pixels_of_both_sides(small):
    import random

    rng = random.Random(0)
    for x, y, pool in itertools.product(range(3), range(3), SIDES):
        assert pool.spot(rng, (x, y), (2, 0))[1] == y
        assert pool.spot(rng, (x, y), (0, 2))[0] == x
