"""Samples become ids and placeholders that fit a pack; pictures shrink, documents split."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data.prepare import learned_turns
from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Part,
    Rejection,
    Sample,
    SampleKey,
    TextPart,
)

KEY = SampleKey("a", "s0", 3)


def sample(*parts: Part) -> Sample:
    return Sample(KEY, parts)


def words(count: int) -> TextPart:
    return TextPart("w" * count)


@pytest.fixture(scope="session")
def picture(encoded: Any) -> Any:
    """A picture whose natural grid is 2 x 2 tiles and a thumbnail: 5 views."""
    return ImagePart(ImageRef(data=encoded(16, 16, 0)))


def test_ids_mask_and_placeholders_by_hand(preparer: Any, encoded: Any) -> None:
    small = ImagePart(ImageRef(data=encoded(5, 5, 1)), "user")
    asked = TextPart("a?", "user", loss=False)
    [one] = preparer().tokenize(sample(asked, small, TextPart("b", "assistant")), "split")
    assert one.input_ids_T.tolist() == [260, 97, 63, 258, 258, 258, 257, 261, 98, 257]
    assert one.learned_T.tolist() == [False] * 8 + [True, True]
    assert [(p.start, p.plan.views) for p in one.pictures] == [(3, 1)]
    assert (one.ends, one.document, one.key) == (1, False, KEY)


def test_a_document_ends_with_a_learned_end(preparer: Any) -> None:
    [one] = preparer().tokenize(sample(words(2)), "split")
    assert one.input_ids_T.tolist() == [119, 119, 256]
    assert one.learned_T.all()
    assert (one.ends, one.labels) == (1, 2)


def test_grids_shrink_evenly_down_to_thumbnails(preparer: Any, picture: Any) -> None:
    def views(count: int, text: int = 5, **settings: Any) -> list[int]:
        [one] = preparer(**settings).tokenize(sample(*[picture] * count, words(text)), "reject")
        assert one.shrunk == ([p.plan.views for p in one.pictures] != [5] * count)
        return [p.plan.views for p in one.pictures]

    assert views(1) == [5]
    assert views(2, max_views=7) == [3, 3]
    assert views(2) == [5, 3]
    assert views(2, max_views=10) == [5, 5]
    assert views(8) == [1] * 8
    assert views(4, max_views=6) == [3, 1, 1, 1]  # what is left over goes to the first
    assert views(1, text=84) == [3]  # 96 tokens - 85 leave room for 3 views of 3 tokens
    with pytest.raises(Rejection, match="too-long"):
        views(9)


def test_fit_reject_leaves_out_samples_with_too_many_views(preparer: Any, picture: Any) -> None:
    with pytest.raises(Rejection) as caught:
        preparer(fit="reject").tokenize(sample(picture, picture, words(3)), "truncate")
    assert (caught.value.reason, caught.value.detail) == (
        "too-many-views",
        "10 views, a pack holds 8",
    )
    [one] = preparer(fit="reject").tokenize(sample(picture, words(3)), "truncate")
    assert one.views == 5


def test_documents_split_at_part_boundaries(preparer: Any, picture: Any) -> None:
    parts = [picture, words(60), picture, words(30), words(20)]
    pieces = preparer().tokenize(sample(*parts), "split")
    assert [str(piece.key) for piece in pieces] == ["a:s0:3#0", "a:s0:3#1"]
    assert [piece.tokens for piece in pieces] == [15 + 60, 15 + 30 + 20 + 1]
    assert [piece.views for piece in pieces] == [5, 5], "what is split need not shrink"
    assert [piece.ends for piece in pieces] == [0, 1]
    assert not pieces[0].shrunk


def test_a_picture_goes_with_the_text_that_follows_it(preparer: Any, picture: Any) -> None:
    pieces = preparer().tokenize(sample(words(50), picture, words(60)), "split")
    assert [(piece.views, piece.tokens) for piece in pieces] == [(0, 50), (5, 15 + 60 + 1)]


def test_text_too_long_by_itself_is_cut_among_its_tokens(preparer: Any, picture: Any) -> None:
    pieces = preparer().tokenize(sample(picture, words(200)), "split")
    assert [piece.tokens for piece in pieces] == [96, 96, 24]
    assert [int((piece.input_ids_T == 119).sum()) for piece in pieces] == [81, 96, 23]
    assert pieces[-1].input_ids_T[-1] == 256


def test_no_piece_is_the_end_alone(preparer: Any) -> None:
    pieces = preparer().tokenize(sample(words(96)), "split")
    assert [piece.tokens for piece in pieces] == [95, 2]
    assert all(piece.labels for piece in pieces)


def test_pictures_without_words_are_dropped_and_counted(preparer: Any, picture: Any) -> None:
    pieces = preparer().tokenize(sample(*[picture] * 9, words(3)), "split")
    assert sum(piece.views for piece in pieces) + 5 * pieces[0].dropped == 45
    assert pieces[0].dropped == 8
    assert pieces[0].pieces == len(pieces) == 1


@settings(deadline=None, max_examples=60)
@given(
    layout=st.lists(st.one_of(st.just(-1), st.integers(1, 150)), min_size=1, max_size=12),
    views=st.integers(1, 9),
    tokens=st.integers(16, 100),
)
def test_splitting_keeps_every_token_in_order(
    preparer: Any, picture: Any, layout: list[int], views: int, tokens: int
) -> None:
    parts = [picture if n < 0 else TextPart(chr(97 + i) * n) for i, n in enumerate(layout)]
    try:
        pieces = preparer(max_views=views, max_tokens=tokens).tokenize(sample(*parts), "split")
    except Rejection:  # the end of a document is learned if anything precedes it
        assert layout == [-1] * len(layout)
        return
    spoken = [one for piece in pieces for one in piece.input_ids_T.tolist() if one != 258]
    whole = [one for n, p in zip(layout, parts, strict=True) if n > 0 for one in p.text.encode()]
    assert pieces[0].dropped or spoken == [*whole, 256]
    for piece in pieces:
        assert piece.tokens <= tokens
        assert piece.views <= views
        assert piece.labels
        for one in piece.pictures:
            run = piece.input_ids_T[one.start : one.start + one.plan.views * 3]
            assert (run == 258).all()
        assert int((piece.input_ids_T == 258).sum()) == 3 * piece.views
    ends = [piece.input_ids_T.tolist().count(256) for piece in pieces]
    # Pictures that leave one position have room for a word and none for the end, which is dropped.
    assert pieces[0].dropped or ends == [*[0] * (len(pieces) - 1), 1]


def test_truncation_never_cuts_a_picture(preparer: Any, picture: Any) -> None:
    [one] = preparer().tokenize(sample(words(86), picture, picture, words(9)), "truncate")
    assert one.truncated
    assert one.ends is None
    assert one.tokens == 96
    assert one.views == 2, "shrunk to thumbnails before anything is cut"
    [one] = preparer().tokenize(sample(words(94), picture, words(9)), "truncate")
    assert one.views == 0
    assert one.tokens == 94, "a picture that does not fit ends the sample"


def test_conversations_are_truncated_where_documents_split(preparer: Any) -> None:
    asked, answer = TextPart("q" * 50, "user", loss=False), TextPart("a" * 50, "assistant")
    [one] = preparer().tokenize(sample(asked, answer), "split")
    assert (one.tokens, one.truncated, one.labels) == (96, True, 43)


def test_what_teaches_nothing_is_rejected(preparer: Any) -> None:
    for parts in (
        [TextPart("q" * 95, "user", loss=False), TextPart("a", "assistant")],  # answer cut off
        [TextPart("q", "user", loss=False)],
        [TextPart("a", "assistant", loss=False)],
        [TextPart("")],
    ):
        with pytest.raises(Rejection) as caught:
            preparer().tokenize(sample(*parts), "truncate")
        assert caught.value.reason == "nothing-to-learn"


def test_faults_of_a_row_are_rejections_with_reasons(preparer: Any) -> None:
    def reason(*parts: Part) -> str:
        with pytest.raises(Rejection) as caught:
            preparer().tokenize(sample(*parts), "split")
        return caught.value.reason

    assert reason(ImagePart(ImageRef(data=b"no")), words(1)) == "image-unreadable"
    assert reason(ImagePart(ImageRef(path="x.png", root="nowhere")), words(1)) == "image-missing"
    assert reason(words(1), TextPart("x", "user")) == "mixed-roles"


def test_realise_decodes_and_cuts_as_planned(preparer: Any, picture: Any) -> None:
    prepare = preparer()
    [one] = prepare.tokenize(sample(picture, words(1)), "split")
    [tiles] = prepare.realise(one)
    assert tiles.pixels_NCHW.shape == (5, 3, 8, 8)
    from mmcore.data.images import decode

    wide = np.asarray(decode(picture.ref.data)).transpose(2, 0, 1)
    assert np.array_equal(tiles.pixels_NCHW[4], wide[:, 8:, 8:])


def test_a_picture_that_changed_since_is_rejected(
    preparer: Any, encoded: Any, tmp_path: Any
) -> None:
    (tmp_path / "a.png").write_bytes(encoded(16, 16, 0))
    ref = ImageRef(path="a.png", root=str(tmp_path))
    [one] = preparer().tokenize(sample(ImagePart(ref), words(1)), "split")
    (tmp_path / "a.png").write_bytes(encoded(16, 8, 0))
    with pytest.raises(Rejection, match="image-changed"):
        preparer().realise(one)


def test_prompts_teach_nothing_and_must_fit(preparer: Any, picture: Any) -> None:
    one = preparer().prompt(KEY, [picture, picture, words(2)])
    assert not one.learned_T.any()
    assert (one.views, one.tokens) == (8, 24 + 2 + 1 + 1)
    with pytest.raises(Rejection, match="too-long"):
        preparer().prompt(KEY, [words(99)])


def test_learned_turns() -> None:
    user, silent = TextPart("u", "user", loss=False), TextPart("a", "assistant", loss=False)
    loud = TextPart("a", "assistant")
    assert learned_turns([user, loud, user, silent, user, loud, loud]) == 2


def test_preparers_can_be_pickled_and_refuse_bad_numbers(preparer: Any) -> None:
    assert pickle.loads(pickle.dumps(preparer())).max_tokens == 96
    with pytest.raises(ValueError, match="max_tokens is 3; one view takes 3"):
        preparer(max_tokens=3)
    with pytest.raises(ValueError, match="max_views is 0"):
        preparer(max_views=0)
