"""Which samples are a picture and its text, and what packs carry of them."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from mmcore.data.collate import blank_batch, collate
from mmcore.data.largest import largest_pack
from mmcore.data.pair_texts import PairTexts
from mmcore.interfaces import (
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    ImagePart,
    ImageRef,
    Sample,
    SampleKey,
    TextPart,
)

MOST = 12


def spoken(words: str) -> list[int]:
    """1, then the letters, then 2; at most ``MOST``."""
    return [1, *words.encode()[: MOST - 2], 2]


TEXTS = PairTexts(spoken, MOST)


@pytest.fixture
def picture(encoded: Any) -> Any:
    return lambda width=8, height=8: ImageRef(data=encoded(width, height, 0))


def document(*pieces: str | ImageRef) -> Sample:
    parts = [
        ImagePart(one) if isinstance(one, ImageRef) else TextPart(one, "document") for one in pieces
    ]
    return Sample(SampleKey("src", "s", 0), tuple(parts))


def talk(*turns: str | ImageRef) -> Sample:
    """A picture and words of the user, then of the assistant."""
    parts = [
        ImagePart(one, "user") if isinstance(one, ImageRef) else TextPart(one, "user", loss=False)
        for one in turns[:-1]
    ]
    answer = TextPart(str(turns[-1]), "assistant")
    return Sample(SampleKey("src", "s", 0), (*parts, answer))


def packed(prepare: Any, *samples: Sample) -> Any:
    made = [piece for one in samples for piece in prepare.tokenize(one, "split")]
    tiles = [prepare.realise(one) for one in made]
    return collate(
        made,
        tiles,
        view=prepare.view,
        tokens_per_view=3,
        lane=0,
        pair_texts=prepare.pair_texts,
    )


def test_packs_carry_the_texts_of_their_pictures(preparer: Any, picture: Any) -> None:
    prepare = preparer(pair_texts=TEXTS, max_tokens=300, max_views=40)
    one = picture()
    batch = packed(
        prepare,
        document("no picture"),
        document(one, " two", one),  # two pictures are no pair, and shift the views
        talk(one, "why", "so "),
        document(one),  # no words
        document("before ", one, "after it"),
    )
    assert batch.views == 5
    assert batch.aux[PAIR_VIEW].tolist() == [2, 4]
    assert batch.aux[PAIR_WEIGHT].tolist() == [1, 1]
    texts = spoken("why so"), spoken("before after it")
    assert len(texts[1]) == MOST
    assert batch.aux[PAIR_IDS].tolist() == [list(texts[0]) + [0] * 4, list(texts[1])]
    assert batch.aux[PAIR_MASK].tolist() == [[True] * 8 + [False] * 4, [True] * MOST]
    assert (batch.aux[PAIR_IDS].dtype, batch.aux[PAIR_VIEW].dtype) == (torch.int64, torch.int64)
    assert (batch.aux[PAIR_MASK].dtype, batch.aux[PAIR_WEIGHT].dtype) == (
        torch.bool,
        torch.float32,
    )


def test_a_picture_in_several_views_is_no_pair(preparer: Any, picture: Any) -> None:
    prepare = preparer(pair_texts=TEXTS)
    large = picture(16, 8)
    [sample] = prepare.tokenize(talk(large, "why", "so"), "reject")
    assert sample.views > 1
    assert sample.pair == ()
    [sample] = prepare.tokenize(talk(picture(), "why", "so"), "reject")
    assert sample.pair == tuple(spoken("why so"))


def test_of_a_split_document_the_piece_with_the_picture_is_a_pair(
    preparer: Any, picture: Any
) -> None:
    prepare = preparer(pair_texts=TEXTS, max_tokens=10)
    pieces = prepare.tokenize(document("many words", picture(), "and more", "still"), "split")
    shown = [bool(piece.pictures) for piece in pieces]
    assert sorted(shown) == [False] * (len(pieces) - 1) + [True]
    assert len(pieces) > 1
    assert [bool(piece.pair) for piece in pieces] == shown
    assert pieces[shown.index(True)].pair == tuple(spoken("many words and more"))


def test_a_preference_pair_has_the_text_of_its_better_answer(preparer: Any, picture: Any) -> None:
    prepare = preparer(pair_texts=TEXTS)
    plain = talk(picture(), "why", "a")
    sample = Sample(plain.key, plain.parts, dispreferred=(TextPart("b", "assistant"),))
    [made] = prepare.tokenize(sample, "reject")
    assert made.dispreferred is not None
    assert made.pair == tuple(spoken("why a"))
    batch = packed(prepare, sample, plain)
    assert batch.aux[PAIR_VIEW].tolist() == [0, 1]


def test_a_pack_without_pairs_carries_an_empty_text(preparer: Any, picture: Any) -> None:
    prepare = preparer(pair_texts=TEXTS)
    for batch in (
        packed(prepare, document("words")),
        blank_batch(prepare.view, prepare.text, TEXTS),
    ):
        assert {name: one.tolist() for name, one in batch.aux.items()} == {
            PAIR_IDS: [[1, 2]],
            PAIR_MASK: [[True, True]],
            PAIR_VIEW: [0],
            PAIR_WEIGHT: [0.0],
        }


def test_where_nobody_asks_packs_carry_nothing(preparer: Any, picture: Any) -> None:
    prepare = preparer()
    assert packed(prepare, talk(picture(), "why", "so")).aux == {}
    assert blank_batch(prepare.view, prepare.text).aux == {}
    assert largest_pack(prepare).aux == {}


def test_in_the_largest_pack_every_view_has_the_longest_text(preparer: Any) -> None:
    prepare = preparer(pair_texts=TEXTS)
    pack = largest_pack(prepare)
    groups = len(pack.patch_mask_NP)
    assert pack.aux[PAIR_IDS].shape == pack.aux[PAIR_MASK].shape == (groups, MOST)
    assert pack.aux[PAIR_MASK].all()
    assert pack.aux[PAIR_VIEW].tolist() == list(range(groups))
    assert pack.aux[PAIR_WEIGHT].tolist() == [1.0] * groups
    assert pickle.loads(pickle.dumps(prepare)).pair_texts == TEXTS
