"""Slots become parts in reading order: joined paragraphs, dead pictures, bounds, faults."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore_blip3.interleaved import Layout, read_slots

A, B, C = (ImageRef(data=name) for name in (b"a", b"b", b"c"))


def layout(**keys):
    return Layout(**{"min_images": 1, "max_images": 0, "text_separator": "|", **keys})


def picture(_number, value):
    return ImageRef(data=value)


def test_paragraphs_are_joined_where_no_picture_divides_them():
    assert layout().parts(["1", "2", A, "3", None, "4", "", B, C]) == (
        TextPart("1|2"),
        ImagePart(A),
        TextPart("3|4"),
        ImagePart(B),
        ImagePart(C),
    )


def test_everything_is_a_document_and_learned():
    text, image = layout().parts(["1", A])
    assert (text.role, image.role, text.loss) == ("document", "document", True)


def test_pictures_after_the_bound_leave_their_text():
    slots = ["1", A, "2", B, "3", C, "4"]
    assert layout(max_images=1).parts(slots) == (TextPart("1"), ImagePart(A), TextPart("2|3|4"))


def test_too_few_pictures():
    with pytest.raises(Rejection, match="too-few-images: 1 can be used, wanted 2"):
        layout(min_images=2).parts(["1", A, None])
    assert layout(min_images=0).parts(["1", None]) == (TextPart("1"),)


@pytest.mark.parametrize("slots", [[], [A], [A, "", None]])
def test_a_document_without_a_word_is_rejected(slots):
    with pytest.raises(Rejection, match="text-missing"):
        layout(min_images=0).parts(slots)


@given(st.lists(st.none() | st.text("xy", min_size=1) | st.sampled_from([A, B, C])))
def test_nothing_is_lost_or_moved(slots):
    if not any(isinstance(slot, str) for slot in slots):
        return
    parts = layout(min_images=0).parts(slots)
    flat = []
    for part in parts:
        flat += part.text.split("|") if isinstance(part, TextPart) else [part.ref]
    assert flat == [slot for slot in slots if slot is not None]
    # No two texts stand side by side.
    kinds = [isinstance(part, TextPart) for part in parts]
    assert (True, True) not in set(itertools.pairwise(kinds))


def test_slots_of_two_lists():
    texts = [" one\n", None, "é".encode(), None]
    read = list(read_slots(texts, [None, b"a", None, None], picture))
    assert read == ["one", A, "é", ""]


def test_pictures_are_numbered():
    numbers = []
    list(read_slots([None, "x", None], ["a", None, "b"], lambda n, one: numbers.append((n, one))))
    assert numbers == [(0, "a"), (1, "b")]


@pytest.mark.parametrize(
    ("texts", "images", "detail"),
    [
        (None, [], "NoneType and list, wanted two lists"),
        ([], "x", "list and str, wanted two lists"),
        (["x"], [None, b"a"], "1 texts and 2 images"),
        (["x"], [b"a"], "slot 0 holds both"),
        ([3], [None], r"texts\[0\] is 3"),
        ([b"\xff"], [None], r"texts\[0\].*UTF-8"),
        (["\ud800"], [None], r"texts\[0\].*UTF-8"),
        (["a\0"], [None], "null bytes"),
    ],
)
def test_faulty_slots_are_rejected(texts, images, detail):
    with pytest.raises(Rejection, match=f"malformed-row: .*{detail}"):
        list(read_slots(texts, images, picture))
