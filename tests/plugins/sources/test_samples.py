"""A row becomes a caption, a conversation, or a question and its answer; or a named rejection."""

import json

import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore_sources.names import Names
from mmcore_sources.samples import sample_of

A, B = ImagePart(ImageRef(data=b"a"), "user"), ImagePart(ImageRef(data=b"b"), "user")


def user(text):
    return TextPart(text, "user", loss=False)


def assistant(text):
    return TextPart(text, "assistant", loss=True)


def test_caption_stands_after_its_pictures(key):
    sample = sample_of({"pictures": [b"a", "b.png"], "root": "/r", "text": b" Two. "}, key)
    assert sample.parts == (
        ImagePart(ImageRef(data=b"a")),
        ImagePart(ImageRef(path="b.png", root="/r")),
        TextPart("Two.", "document", loss=True),
    )


def test_text_without_pictures_by_design(key):
    assert sample_of({"text": "Words."}, key).parts == (TextPart("Words."),)


LLAVA = [{"from": b"human", "value": b"<image>\nWhat?"}, {"from": b"gpt", "value": b"A cat."}]


@pytest.mark.parametrize(
    "conversation",
    [
        LLAVA,
        json.dumps(
            [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
        ),
        b'[{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}]',
        [
            {"role": b"user", "content": [{"type": b"image"}, {"type": b"text", "text": b"What?"}]},
            {"role": b"assistant", "content": [{"type": b"text", "text": b"A cat."}]},
        ],
        [{"user": b"What?", "assistant": b"A cat.", "source": b"x"}],
    ],
    ids=["llava", "json", "messages in json", "content parts", "pairs"],
)
def test_forms_of_a_conversation(conversation, key):
    sample = sample_of({"pictures": [b"a"], "conversations": conversation}, key)
    assert sample.parts == (A, user("What?"), assistant("A cat."))


def test_conversation_may_have_no_pictures(key):
    turns = [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hello."}]
    assert sample_of({"pictures": [], "conversations": turns}, key).parts == (
        user("Hi?"),
        assistant("Hello."),
    )


@pytest.mark.parametrize(
    ("answer", "learned"),
    [
        ("yes", "yes"),
        (b"yes ", "yes"),
        (["no", "yes", "yes"], "yes"),
        (["no", "yes"], "no"),
        ([{"answer": b"no", "answer_id": 1}], "no"),
    ],
)
def test_question_and_the_most_frequent_answer(answer, learned, key):
    row = {"pictures": [b"a", b"b"], "question": b"Is <image> older?", "answer": answer}
    # One picture has a tag; the other stands in front.
    assert sample_of(row, key).parts == (
        A,
        user("Is "),
        B,
        user(" older?"),
        assistant(learned),
    )


@pytest.mark.parametrize(
    ("group", "wanted"), [("vqa", "vqa"), (b"vqa", "vqa"), (3, "3"), (None, "")]
)
def test_group(group, wanted, key):
    assert sample_of({"text": "a", "group": group}, key).group == wanted


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"pictures": [], "text": "a"}, "image-missing"),
        ({"pictures": [None], "text": "a"}, "image-missing"),
        ({"pictures": [b""], "text": "a"}, "image-missing"),
        ({"pictures": [7], "text": "a"}, "malformed-row"),
        ({"pictures": [""], "text": "a"}, "malformed-row"),
        ({"text": None}, "caption-missing"),
        ({"text": " "}, "caption-missing"),
        ({"text": b"\xff"}, "malformed-row"),
        ({"text": "\udcff"}, "malformed-row"),
        ({"text": 3}, "malformed-row"),
        ({"text": "a", "group": b"\xff"}, "malformed-row"),
        ({"question": None, "answer": "a"}, "empty-turn"),
        ({"question": "a?", "answer": None}, "missing-answer"),
        ({"question": "a?", "answer": " "}, "missing-answer"),
        ({"question": "a?", "answer": []}, "missing-answer"),
        ({"question": "a? <image>", "answer": "b"}, "image-count"),
        ({"conversations": None}, "malformed-row"),
        ({"conversations": b"["}, "malformed-json"),
        ({"conversations": b"\xff"}, "malformed-row"),
        ({"conversations": []}, "empty-conversation"),
        ({"conversations": [{"from": "human", "value": "<image>?"}, LLAVA[1]]}, "image-count"),
    ],
)
def test_faulty_row_is_rejected(row, reason, key):
    with pytest.raises(Rejection) as caught:
        sample_of(row, key)
    assert caught.value.reason == reason


def test_a_row_has_one_form():
    two = list(Names(text="a", conversations="b").problems("column"))
    assert [one.message.partition(" are")[0] for one in two] == [
        "text_column and conversations_column"
    ]
    assert [p.key for p in Names(question="a").problems("field")] == ["question_field"]
    assert [p.key for p in Names(answer="a").problems("field")] == ["answer_field"]
    assert not list(Names(question="a", answer="b", group="c").problems("column"))
