"""From a row of any of these sources to a sample: caption, conversation, or question and answer.

A row holds pictures under ``PICTURES``, each as its encoded bytes or as the name of a file below
``ROOT``, and one of the forms of ``Names`` under its name. What is text may still be undecoded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, Row, Sample, SampleKey, TextPart
from mmcore.kit.conversation import Turn, lay_out, read_turns
from mmcore.kit.row_values import check_text, picture_named, text_of

PICTURES, ROOT = "pictures", "root"
"""The row's keys beside those of ``Names``. Where rows have no pictures by design, there is no
``PICTURES``."""

TEXT, CONVERSATIONS, QUESTION, ANSWER, GROUP = (
    "text",
    "conversations",
    "question",
    "answer",
    "group",
)

_BYTES: Final = "bytes"
"""Key of a picture's encoded bytes within a conversation: they are no text."""


def sample_of(row: Row, key: SampleKey) -> Sample:
    """The row as a sample.

    Raises:
        Rejection: the row cannot be used.
    """
    root = row.get(ROOT, "")
    assert isinstance(root, str)
    pictures = [_picture(value, root) for value in _list(row.get(PICTURES))]
    if TEXT in row:
        if PICTURES in row and not pictures:
            raise Rejection("image-missing", "the row has a text, but no picture")
        parts: tuple[Part, ...] = tuple(ImagePart(picture) for picture in pictures)
        parts += (TextPart(_words("the text", row[TEXT], "caption-missing")),)
    elif CONVERSATIONS in row:
        turns = read_turns({CONVERSATIONS: _conversation(row[CONVERSATIONS])}, root)
        parts = lay_out(turns, pictures)
    else:
        question = _words("the question", row[QUESTION], "empty-turn")
        turns = [Turn("user", question), Turn("assistant", _answer(row[ANSWER]))]
        parts = lay_out(turns, pictures)
    return Sample(key=key, parts=parts, group=_group(row.get(GROUP)))


def _picture(value: object, root: str) -> ImageRef:
    if value is None:
        raise Rejection("image-missing", "a picture of the row is null")
    if isinstance(value, bytes):
        if not value:
            raise Rejection("image-missing", "a picture of the row has no bytes")
        return ImageRef(data=value)
    return picture_named("a picture", value, root)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _words(name: str, value: object, missing: str) -> str:
    """A text; ``missing`` is the reason where there is none."""
    encoded = check_text(name, value).encode() if isinstance(value, str) else value
    try:
        return text_of(name, encoded)
    except Rejection as rejection:
        if rejection.reason == "caption-missing":
            raise Rejection(missing, rejection.detail) from None
        raise


def _group(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    return check_text("the group", _decoded("the group", value))


def _answer(value: object) -> str:
    """The answer; of several the one that is given most often, of equals the first."""
    if not isinstance(value, list):
        return _words("the answer", value, "missing-answer")
    if not value:
        raise Rejection("missing-answer", "the list of answers is empty")
    # VQAv2 writes {"answer": "...", "answer_confidence": "..."}.
    given = [one.get("answer") if isinstance(one, Mapping) else one for one in value]
    answers = Counter(_words("an answer", one, "missing-answer") for one in given)
    return answers.most_common(1)[0][0]


def _conversation(value: object) -> object:
    """Turns, also of a column that holds JSON; pairs of user and assistant become two turns."""
    turns = _decoded("the conversation", value)
    if isinstance(turns, str):
        try:
            turns = json.loads(turns)
        except (ValueError, RecursionError) as error:
            raise Rejection("malformed-json", f"the conversation: {error}") from error
    if not isinstance(turns, list):
        return turns
    return [half for turn in turns for half in _halves(turn)]


def _halves(turn: object) -> list[object]:
    """``{"user": "...", "assistant": "..."}``, as The Cauldron writes it, is two turns."""
    if not isinstance(turn, dict) or not {"user", "assistant"} <= turn.keys():
        return [turn]
    return [{"role": role, "content": turn[role]} for role in ("user", "assistant")]


def _decoded(name: str, value: object) -> object:
    """The same value with text for bytes, but for those of pictures."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise Rejection("malformed-row", f"{name}: {error}, wanted UTF-8") from error
    if isinstance(value, list):
        return [_decoded(name, one) for one in value]
    if isinstance(value, dict):
        return {k: v if k == _BYTES else _decoded(name, v) for k, v in value.items()}
    return value
