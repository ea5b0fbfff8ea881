"""LLaVA's conversation format becomes parts in reading order, or a named rejection."""

import base64
import json

import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, TextPart
from mmcore.kit.conversation import lay_out, read_turns
from mmcore.kit.picture_bytes import picture_bytes
from mmcore_blip3.llava_json import LlavaJsonSource

SOURCE = LlavaJsonSource(path="unused.json")


def parse(entry, key):
    return SOURCE.parse({"json": json.dumps(entry).encode(), "images": "/pictures"}, key)


def picture(name):
    return ImagePart(ImageRef(path=name, root="/pictures"), "user")


def user(text):
    return TextPart(text, "user", loss=False)


def assistant(text):
    return TextPart(text, "assistant", loss=True)


def test_tag_becomes_the_picture_and_takes_its_line_break_along(key, turns):
    entry = {"image": "a.jpg", "conversations": turns("<image>\nWhat?", "A cat.", "Big?", "No.")}
    sample = parse(entry, key)
    assert sample.key == key
    assert sample.parts == (
        picture("a.jpg"),
        user("What?"),
        assistant("A cat."),
        user("Big?"),
        assistant("No."),
    )


def test_tags_stay_in_their_places(key, turns):
    entry = {
        "image": ["a.jpg", "b.jpg", "c.jpg"],
        "conversations": turns("Is <image> older\n than <image>?", "Yes.", "And <image>\n?", "No."),
    }
    assert parse(entry, key).parts == (
        user("Is "),
        picture("a.jpg"),
        user(" older\n than "),
        picture("b.jpg"),
        user("?"),
        assistant("Yes."),
        user("And "),
        picture("c.jpg"),
        user("?"),
        assistant("No."),
    )


def test_pictures_without_a_tag_stand_in_front(key, turns):
    entry = {"image": ["a.jpg", "b.jpg"], "conversations": turns("Say <image> now", "Ok")}
    assert parse(entry, key).parts[:4] == (
        picture("a.jpg"),
        user("Say "),
        picture("b.jpg"),
        user(" now"),
    )


def test_other_words_for_roles_and_a_system_turn(key):
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi?"},
        {"role": "assistant", "content": "Hello <image>."},
    ]
    sample = parse({"conversations": conversation, "kind": "greeting"}, key)
    # A tag in an answer is words like any other.
    assert sample.parts == (
        TextPart("Be brief.", "system", loss=False),
        user("Hi?"),
        assistant("Hello <image>."),
    )
    assert sample.group == "greeting"


def test_role_names_of_mantis_and_messages(key):
    """Mantis writes role and content, chat templates call the list messages."""
    talk = [
        {"role": "user", "content": "<image>\nWhat?"},
        {"role": "assistant", "content": "A cat."},
    ]
    for name in ("conversations", "messages"):
        sample = parse({"image": "a.jpg", name: talk}, key)
        assert sample.parts == (picture("a.jpg"), user("What?"), assistant("A cat."))


def test_contents_in_parts(key):
    data = "data:image/png;base64," + base64.b64encode(b"png").decode()
    content = [
        {"type": "text", "text": "Compare <image> "},
        {"type": "image"},
        {"type": "image", "text": None, "image": "b.jpg"},
        {"type": "image_url", "image_url": {"url": data}},
        {"type": "text", "text": ""},
        {"type": "image", "image": {"bytes": b"raw", "path": None}},
    ]
    entry = {
        "image": ["a.jpg"],
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": content},
            {"role": "assistant", "content": [{"type": "text", "text": "Same."}]},
        ],
    }
    turns = read_turns(entry, "/pictures")
    assert lay_out(turns, [ImageRef(path="a.jpg", root="/pictures")]) == (
        TextPart("Be brief.", "system", loss=False),
        user("Compare <image> "),  # where pictures are parts, a tag is words
        picture("a.jpg"),
        picture("b.jpg"),
        ImagePart(ImageRef(data=b"png"), "user"),
        ImagePart(ImageRef(data=b"raw"), "user"),
        assistant("Same."),
    )


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("words", "malformed-row"),
        ({"text": "Hi"}, "malformed-row"),
        ({"type": "audio"}, "malformed-row"),
        ({"type": "text"}, "malformed-row"),
        ({"type": "image", "image": 3}, "malformed-row"),
        ({"type": "image", "url": "https://x/a.png"}, "image-missing"),
        ({"type": "image", "url": "data:image/png,abc"}, "malformed-row"),
        ({"type": "image", "url": "data:image/png;base64,a?"}, "malformed-row"),
        ({"type": "image"}, "image-count"),
    ],
)
def test_broken_part_is_rejected(part, reason, key):
    talk = [{"role": "user", "content": [part]}, {"role": "assistant", "content": "Ok"}]
    with pytest.raises(Rejection) as caught:
        parse({"messages": talk}, key)
    assert caught.value.reason == reason


def test_picture_in_an_answer_is_rejected(key):
    talk = [{"role": "user", "content": "Draw."}]
    talk.append({"role": "assistant", "content": [{"type": "image"}]})
    with pytest.raises(Rejection, match="image-role"):
        parse({"messages": talk}, key)


def test_empty_system_turn_is_dropped(key, turns):
    entry = {"conversations": [{"from": "system", "value": ""}, *turns("Hi?", "Hello.")]}
    assert parse(entry, key).parts == (user("Hi?"), assistant("Hello."))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "malformed-row"),
        ({}, "malformed-row"),
        ({"conversations": []}, "empty-conversation"),
        ({"conversations": ["Hi"]}, "malformed-row"),
        ({"conversations": [{"from": "bot", "value": "Hi"}]}, "unknown-role"),
        ({"conversations": [{"value": "Hi"}]}, "unknown-role"),
        ({"conversations": [{"from": "human", "value": 3}]}, "malformed-row"),
        ({"conversations": [{"from": "human"}]}, "malformed-row"),
        ({"conversations": [{"from": "human", "value": "\ud800"}]}, "malformed-row"),
        ({"conversations": [{"from": "human", "value": "Hi?"}]}, "missing-answer"),
        ({"conversations": [{"from": "system", "value": "Hi?"}]}, "missing-answer"),
    ],
)
def test_broken_entry_is_rejected(entry, reason, key):
    with pytest.raises(Rejection) as caught:
        parse(entry, key)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("texts", "image", "reason"),
    [
        (("<image><image>", "Hi"), "a.jpg", "image-count"),
        (("<image>", "Hi"), None, "image-count"),
        (("Hi?", "Hello.", "<image>?", "Yes."), None, "image-count"),
        (("Hi?", " "), None, "missing-answer"),
        (("Hi?", "Hello.", "So?"), None, "missing-answer"),
        ((" ", "Hello."), None, "empty-turn"),
        (("Hi?", "Hello."), 5, "malformed-row"),
        (("Hi?", "Hello."), [""], "malformed-row"),
        (("Hi?", "Hello."), ["a\0.jpg"], "malformed-row"),
        (("Hi?", "Hello."), [["a.jpg"]], "malformed-row"),
    ],
)
def test_pictures_and_answers_must_match(texts, image, reason, key, turns):
    with pytest.raises(Rejection) as caught:
        parse({"image": image, "conversations": turns(*texts)}, key)
    assert caught.value.reason == reason


def test_two_turns_of_one_speaker_are_rejected(key, turns):
    doubled = [*turns("Hi?"), *turns("Hello?", "Yes.")]
    with pytest.raises(Rejection, match="turn-order"):
        parse({"conversations": doubled}, key)
    with pytest.raises(Rejection, match="turn-order"):
        parse({"conversations": turns("Hi?", "Hello.")[1:]}, key)


@pytest.mark.parametrize("raw", [b'{"conversations": [', b"\xff\xfe", b"[" * 100_000])
def test_undecodable_row_is_rejected(raw, key):
    with pytest.raises(Rejection) as caught:
        SOURCE.parse({"json": raw, "images": "/pictures"}, key)
    assert caught.value.reason == "malformed-json"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "x/../../secret.png"])
def test_picture_outside_its_root_is_rejected_when_read(name, key, turns, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "data" / "x").mkdir(parents=True)
    encoded = json.dumps({"image": name, "conversations": turns("Hi?", "Hello.")}).encode()
    sample = SOURCE.parse({"json": encoded, "images": str(tmp_path / "data")}, key)
    with pytest.raises(Rejection, match="image-outside-root"):
        picture_bytes(sample.parts[0].ref)


def test_missing_picture_is_rejected_when_read(key, turns, tmp_path):
    encoded = json.dumps({"image": "no.png", "conversations": turns("Hi?", "Hello.")}).encode()
    sample = SOURCE.parse({"json": encoded, "images": str(tmp_path)}, key)
    with pytest.raises(Rejection, match=r"image-missing.*no\.png"):
        picture_bytes(sample.parts[0].ref)
