"""What a token sampler is told of a picture's turn: the user's own words, and nothing learned."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data.collate import blank_batch, collate
from mmcore.data.instructions import own_words
from mmcore.data.largest import largest_pack
from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    PackedBatch,
    Part,
    Role,
    Sample,
    SampleKey,
    TextPart,
)
from mmcore_phi3.spec import Phi3Spec

KEY = SampleKey("made-up", "s", 0)
PICTURE = ImagePart(ImageRef(path="a.png"), "user")
MOST = 7


def ask(text: str) -> TextPart:
    return TextPart(text, "user", loss=False)


def say(text: str, *, loss: bool = True) -> TextPart:
    return TextPart(text, "assistant", loss=loss)


def test_words_of_the_own_turn_and_of_no_other() -> None:
    system = TextPart("be kind", "system", loss=False)
    first = [ask("compare "), PICTURE, ask(" and "), PICTURE]
    talk = [system, *first, say("same"), ask("and now?"), say("no"), PICTURE, ask("\nthis? ")]
    assert own_words(talk) == ["compare  and", "compare  and", "this?"]
    assert own_words([PICTURE, say("a cat")]) == [""]
    assert own_words([ask("what?"), say("a cat")]) == []


def test_an_answer_that_is_not_learned_is_an_answer_all_the_same() -> None:
    shots = [PICTURE, ask("count"), say("three", loss=False), PICTURE, ask("count again")]
    assert own_words([*shots, say("four")]) == ["count", "count again"]
    assert own_words(shots) == ["count", "count again"]  # as a question, when it is asked


def test_the_pictures_of_a_document_have_none() -> None:
    picture = ImagePart(ImageRef(path="a.png"))
    assert own_words([picture, TextPart("a red boat"), picture, TextPart("sails")]) == ["", ""]
    assert own_words([picture, TextPart("not learned", loss=False)]) == [""]


@st.composite
def conversations(draw: Any) -> list[tuple[bool, str, str]]:
    """Questions in small letters (whether with a picture before and after) and capital answers."""
    turn = st.tuples(
        st.booleans(),
        st.booleans(),
        st.text("abcxyz", min_size=1, max_size=12),
        st.text("ABCXYZ", min_size=1, max_size=12),
        st.booleans(),
    )
    found: list[tuple[bool, str, str]] = draw(st.lists(turn, min_size=1, max_size=3))
    return found


def parts_of(turns: Any, picture: ImageRef, *, answers: str = "") -> list[Part]:
    parts: list[Part] = []
    for before, after, question, answer, loss in turns:
        shown = ImagePart(picture, "user")
        parts += [shown] * before + [ask(question)] + [shown] * after
        parts.append(say(answers or answer, loss=loss))
    return parts


def packed(prepare: Any, samples: Any) -> PackedBatch:
    tiles = [prepare.realise(one) for one in samples]
    return collate(samples, tiles, view=prepare.view, tokens_per_view=3, lane=0)


@given(talks=st.lists(conversations(), min_size=1, max_size=3), size=st.sampled_from([8, 16]))
@settings(max_examples=60, deadline=None)
def test_no_learned_token_is_ever_among_them(
    preparer: Any, encoded: Any, talks: Any, size: int
) -> None:
    """Whatever is asked, shown and answered: ids are letters here, so both can be told apart."""
    prepare = preparer(instruction_tokens=MOST, max_tokens=300, max_views=30)
    ref = ImageRef(data=encoded(size, size, 0))
    talks = [[*talk[:-1], (*talk[-1][:-1], True)] for talk in talks]  # each teaches something
    samples, wanted = [], []
    for talk in talks:
        samples += prepare.tokenize(Sample(KEY, tuple(parts_of(talk, ref))), "reject")
        views = 1 if size == 8 else 5
        for before, after, question, _, _ in talk:
            wanted += [question.encode()[:MOST]] * (views * (before + after))
    batch = packed(prepare, samples)
    if batch.instruction_ids_NI is None:
        assert not wanted
        return
    ids_NI, mask_NI = batch.instruction_ids_NI, batch.instruction_mask_NI
    assert mask_NI is not None
    assert [bytes(i[m].tolist()) for i, m in zip(ids_NI, mask_NI, strict=True)] == wanted
    assert ids_NI.shape == mask_NI.shape == (batch.patch_mask_NP.shape[0], max(map(len, wanted)))
    learned = set(batch.targets_L.tolist()) | set(b"ABCXYZ")
    assert not learned & set(ids_NI[mask_NI].tolist())

    silent = [
        prepare.tokenize(Sample(KEY, tuple(parts_of(talk, ref, answers="Z"))), "reject")[0]
        for talk in talks
    ]
    other = packed(prepare, silent)
    assert other.instruction_ids_NI is not None
    assert torch.equal(other.instruction_ids_NI, ids_NI)


def test_a_pair_is_asked_once_for_both_answers(preparer: Any, encoded: Any) -> None:
    prepare = preparer(instruction_tokens=MOST)
    shown = ImagePart(ImageRef(data=encoded(16, 16, 0)), "user")
    parts = (shown, ask("why"), say("LOUD"), ask("how"), say("GOOD"))
    samples = prepare.tokenize(Sample(KEY, parts, dispreferred=(say("BAD"),)), "reject")
    batch = packed(prepare, samples)
    assert batch.instruction_ids_NI is not None
    assert batch.instruction_ids_NI.tolist() == [list(b"why")] * batch.views


def test_where_nobody_reads_them_there_are_none(preparer: Any, encoded: Any) -> None:
    shown = ImagePart(ImageRef(data=encoded(8, 8, 0)), "user")
    sample = Sample(KEY, (shown, ask("why"), say("BECAUSE")))
    document = Sample(KEY, (attrs.evolve(shown, role="document"), TextPart("a boat")))
    for prepare, one in ((preparer(), sample), (preparer(instruction_tokens=MOST), document)):
        batch = packed(prepare, prepare.tokenize(one, "reject"))
        assert batch.instruction_ids_NI is None
        assert batch.instruction_mask_NI is None
    assert blank_batch(prepare.view, prepare.text).instruction_ids_NI is None


def test_a_question_is_prepared_as_in_training(preparer: Any, encoded: Any) -> None:
    prepare = preparer(instruction_tokens=MOST)
    parts = (ImagePart(ImageRef(data=encoded(8, 8, 0)), "user"), ask("why so many"))
    [taught] = prepare.tokenize(Sample(KEY, (*parts, say("A"))), "reject")
    asked = prepare.prompt(KEY, parts)
    assert [one.instruction for one in asked.pictures] == [tuple(b"why so ")]
    assert [one.instruction for one in taught.pictures] == [tuple(b"why so ")]


def test_the_largest_pack_has_the_longest(preparer: Any) -> None:
    batch = largest_pack(preparer(instruction_tokens=MOST))
    assert batch.instruction_mask_NI is not None
    assert batch.instruction_mask_NI.shape == (batch.patch_mask_NP.shape[0], MOST)
    assert batch.instruction_mask_NI.all()
    assert largest_pack(preparer()).instruction_ids_NI is None


@pytest.mark.parametrize("role", ["user", "document"])
def test_with_a_real_tokenizer_they_are_the_words_without_tags(
    preparer: Any, encoded: Any, role: Role
) -> None:
    text = Phi3Spec().tiny().text()
    prepare = preparer(text=text, instruction_tokens=40, max_tokens=200)
    shown = ImagePart(ImageRef(data=encoded(8, 8, 0)), role)
    words = "What does the sign say? <|end|>"
    parts = (shown, TextPart(words, role, loss=role == "document"))
    answer = (say("Stop."),) if role == "user" else ()
    [one] = prepare.tokenize(Sample(KEY, (*parts, *answer)), "reject")
    [picture] = one.pictures
    if role == "document":
        assert picture.instruction == ()
    else:
        assert text.decode(picture.instruction).strip() == words
        assert not any(map(text.special, picture.instruction))
