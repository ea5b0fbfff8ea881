"""The knobs: what does not fit is said before anything is drawn, and what fits is drawn whole."""

import itertools

import pytest

from mmcore.interfaces import SyntheticContent
from mmcore_puzzles.drawing import draw, shape_stamp, text_stamp
from mmcore_puzzles.levels import LETTERS, box
from mmcore_puzzles.pools import SHAPES, Pool
from mmcore_puzzles.scene import Scene, Thing
from mmcore_puzzles.spec import PuzzlesSpec

ROWS = SyntheticContent(rows=1)


def faults(synthetic=ROWS, **keys):
    spec = PuzzlesSpec(synthetic=synthetic, **keys)
    return [f"{one.key} {one.message}" for one in spec.problems()]


def test_defaults_are_sound():
    assert faults() == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"text_px": (20,), "side": 64, "grid": (1,), "kinds": ("reading",)},
            "text_px is 20 for 'reading': that takes up to 69 pixels and 2 to spare, and a cell of "
            "1x1 on a picture of 64 has 64",
        ),
        (
            {"shape_px": (31,), "side": 96, "others": (0, 1), "kinds": ("place",)},
            "shape_px is 31 for 'place': that takes up to 31 pixels and 2 to spare, and a cell of "
            "3x3 on a picture of 96 has 32",
        ),
        ({"others": (9,), "kinds": ("place",)}, "others is 9 for 'place', which has room for 8"),
        (
            {"others": (8,), "kinds": ("compare",)},
            "others is 8 for 'compare', which has room for 7",
        ),
        ({"path": "x/*.json"}, "path is 'x/*.json', and puzzles have no files; leave it out"),
        (
            {"synthetic": SyntheticContent(rows=1, topics=("words",))},
            "synthetic.topics is ['words'], and puzzles are chosen by `kinds`; leave it out",
        ),
    ],
)
def test_what_does_not_fit_is_said(keys, message):
    assert faults(**keys) == [message]


def test_knobs_of_kinds_that_are_not_asked_do_not_matter():
    assert faults(kinds=("count",), text_px=(200,), side=384) == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kinds": ("reeding",)}, "kinds is 'reeding', wanted one of .*; did you mean 'reading'"),
        ({"kinds": ()}, "kinds"),
        ({"vocabulary": "letters"}, "vocabulary is 'letters'"),
        ({"pictures": (1,)}, "pictures"),
        ({"pictures": (10,)}, "pictures"),
        ({"grid": (2, 0)}, "grid"),
    ],
)
def test_values_out_of_range(keys, message):
    with pytest.raises(ValueError, match=message):
        PuzzlesSpec(synthetic=ROWS, **keys)


@pytest.mark.parametrize("px", [5, 6, 9, 12, 20, 48])
def test_texts_fit_the_box_that_is_kept_for_them_and_are_as_high_as_asked(px):
    for vocabulary, pool in itertools.product(LETTERS, (Pool(False), Pool(True))):
        for text in pool.texts(vocabulary)[:: 1 if vocabulary != "long words" else 997]:
            stamp = text_stamp(text, px)
            assert stamp.width <= box(text, px)[0]
            assert px - 1 <= stamp.height <= box(text, px)[1]


@pytest.mark.parametrize("px", [5, 12, 32])
def test_shapes_fill_their_square_and_differ(px):
    stamps = {shape: shape_stamp(shape, px) for shape in SHAPES}
    for stamp in stamps.values():
        assert stamp.size == (px, px)
        left, top, right, bottom = stamp.point(lambda value: 255 * (value > 40)).getbbox()
        assert max(left, top, px - right, px - bottom) <= 1 + px // 12
    assert len({stamp.tobytes() for stamp in stamps.values()}) == len(SHAPES)


def test_a_scene_is_drawn_where_it_says():
    scene = Scene(
        40, "white", (Thing("square", "red", 10, 3, 5), Thing("CAT", "blue", 8, 10, 28, True))
    )
    image = draw(scene)
    assert image.getpixel((8, 10)) == (220, 10, 10)
    assert image.getpixel((20, 10)) == (255, 255, 255)
    lower = image.crop((10, 28, 10 + box("CAT", 8)[0], 28 + box("CAT", 8)[1]))
    assert min(green for _, (_, green, _) in lower.getcolors(2000)) < 60  # of the paper, 255
    assert image.crop((0, 16, 40, 28)).getcolors() == [(40 * 12, (255, 255, 255))]
