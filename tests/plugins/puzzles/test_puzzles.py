"""The answers are right: each is found again in the scene, by other means than it was made."""

import random
from collections import Counter

import pytest

from mmcore_puzzles.levels import KINDS, PLACES
from mmcore_puzzles.pools import Pool
from mmcore_puzzles.scene import confusable


def puzzles(spec, count=120):
    source = spec.open()
    return [source.puzzle(number) for number in range(count)]


def look_of(thing):
    return f"{thing.ink} {thing.name}"


def middle(thing):
    half = thing.px / 2
    return thing.x + half, thing.y + half


@pytest.fixture(params=[False, True], ids=["training", "held-out"])
def of_kind(request, small):
    def make(kind, **keys):
        return puzzles(small(kinds=(kind,), held_out=request.param, **keys))

    return make


def test_colour_is_that_of_the_paper_and_of_the_shape(of_kind):
    for puzzle in of_kind("colour"):
        (scene,) = puzzle.scenes
        (thing,) = scene.things
        paper, shape = puzzle.asked
        assert (paper.question, paper.answer) == ("What colour is the paper?", scene.paper)
        assert (shape.question, shape.answer) == (f"What colour is the {thing.name}?", thing.ink)
        assert shape.answer in shape.options


def test_reading_asks_for_the_text_of_a_cell(of_kind):
    for puzzle in of_kind("reading", grid=(2,)):
        (scene,) = puzzle.scenes
        for asked in puzzle.asked:
            row, column = (int(n) for n in asked.question if n.isdigit())
            found = [
                one.name
                for one in scene.things
                if (one.y // 36 + 1, one.x // 36 + 1) == (row, column)
            ]
            assert found == [asked.answer]
        assert len({asked.question for asked in puzzle.asked}) == 4
        assert len({asked.answer for asked in puzzle.asked}) == 4


def test_a_page_with_more_cells_than_texts_repeats_as_few_as_it_must(small):
    dense = small(kinds=("reading",), grid=(6,), text_px=(5,), side=120, held_out=True)
    (scene,) = dense.open().puzzle(0).scenes
    counts = Counter(thing.name for thing in scene.things)
    assert (len(counts), set(counts.values())) == (18, {2})


def test_place_is_where_the_shape_is(of_kind):
    for puzzle in of_kind("place", others=(3, 8)):
        (scene,) = puzzle.scenes
        assert len(scene.things) == 1 + puzzle.level.others
        for asked in puzzle.asked:
            wanted = asked.question.removeprefix("Where is the ").removesuffix("?")
            (thing,) = [one for one in scene.things if look_of(one) == wanted]
            x, y = middle(thing)
            assert asked.answer == PLACES[int(3 * y / 72)][int(3 * x / 72)]


def test_count_counts_and_the_whole_tells_nothing(of_kind):
    for puzzle in of_kind("count"):
        (scene,) = puzzle.scenes
        counts = Counter(f"{look_of(one)}s" for one in scene.things)
        for asked in puzzle.asked:
            wanted = asked.question.removeprefix("How many ").removesuffix("?")
            assert counts.pop(wanted.replace("crosses", "crosss")) == int(asked.answer) <= 4
        assert not counts
        assert len(puzzle.asked) == 1 + puzzle.level.others
        if puzzle.level.others:
            assert len(scene.things) == 4 + puzzle.level.others


def test_compare_changes_what_it_says_and_nothing_else(of_kind):
    said = Counter()
    for puzzle in of_kind("compare"):
        first, second = puzzle.scenes
        (asked,) = puzzle.asked
        assert first.paper == second.paper
        pairs = [
            (one, other)
            for one, other in zip(first.things, second.things, strict=True)
            if one != other
        ]
        said[asked.answer] += 1
        if asked.answer == "nothing":
            assert pairs == []
            continue
        ((one, other),) = pairs
        differing = {
            "colour": one.ink != other.ink,
            "shape": one.name != other.name,
            "place": (one.x * 3 // 72, one.y * 3 // 72) != (other.x * 3 // 72, other.y * 3 // 72),
        }
        assert [what for what, differs in differing.items() if differs] == [asked.answer]
        if asked.answer != "place":
            assert (one.x, one.y) == (other.x, other.y)
    assert len(said) == 4


def test_retrieve_names_the_only_picture_that_shows_it(of_kind):
    for puzzle in of_kind("retrieve"):
        shown = [look_of(thing) for scene in puzzle.scenes for thing in scene.things]
        assert len(shown) == puzzle.level.pictures
        for asked in puzzle.asked:
            wanted = asked.question.removeprefix("Which picture shows a ").removesuffix("?")
            assert [n for n, look in enumerate(shown, 1) if look == wanted] == [int(asked.answer)]


@pytest.mark.parametrize("held_out", [False, True])
def test_neither_colour_nor_shape_alone_tells_the_first_of_three(held_out):
    pool = Pool(held_out)
    for seed in range(50):
        looks = confusable(pool, 5, random.Random(seed))
        assert len(set(looks)) == 5
        first, *close = looks[:3]
        assert {(one.ink == first.ink, one.shape == first.shape) for one in close} == {
            (True, False),
            (False, True),
        }
    assert len(confusable(pool, len(pool.looks), random.Random(0))) == len(pool.looks)


@pytest.mark.parametrize("kind", KINDS)
def test_things_stay_on_the_picture_and_do_not_overlap(small, kind):
    from mmcore_puzzles.levels import box

    for puzzle in puzzles(small(kinds=(kind,)), 60):
        for scene in puzzle.scenes:
            spans = []
            for one in scene.things:
                width, height = box(one.name, one.px) if one.is_text else (one.px, one.px)
                spans.append((one.x, one.y, one.x + width, one.y + height))
            for number, (left, top, right, bottom) in enumerate(spans):
                assert 0 <= left < right <= scene.side
                assert 0 <= top < bottom <= scene.side
                for other in spans[:number]:
                    apart = right <= other[0] or other[2] <= left
                    assert apart or bottom <= other[1] or other[3] <= top
