"""From an entry in LLaVA's conversation format to the parts of a sample.

An entry is ``{"image": str | [str], "conversations": [{"from": "human", "value": "..."}]}``; the
words ``user`` and ``assistant``, and the keys ``role`` and ``content``, are understood as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, Role, TextPart

TAG: Final = "<image>"

ROLES: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "assistant": "assistant",
        "system": "system",
    }
)


@attrs.frozen
class Turn:
    """Who speaks, and the words, in which a tag stands for a picture."""

    role: Role
    text: str


def read_turns(entry: Mapping[str, object]) -> list[Turn]:
    """The turns of an entry: perhaps a system turn, then questions and answers in turn.

    Raises:
        Rejection: ``malformed-row``, ``empty-conversation``, ``unknown-role``, ``turn-order``,
            ``empty-turn`` or ``missing-answer``.
    """
    conversation = entry.get("conversations")
    if not isinstance(conversation, list):
        raise Rejection("malformed-row", f"conversations is {conversation!r}, wanted a list")
    if not conversation:
        raise Rejection("empty-conversation", "conversations is an empty list")
    turns = [_read_turn(number, turn) for number, turn in enumerate(conversation)]
    _check_order(turns)
    # An empty system turn says nothing; an empty question or answer says the row is broken.
    return [turn for turn in turns if turn.role != "system" or turn.text.strip()]


def read_pictures(entry: Mapping[str, object], root: str) -> list[ImageRef]:
    """The pictures of an entry, below ``root``; none for a text-only entry.

    Raises:
        Rejection: ``malformed-row``, where a picture is not named by a string.
    """
    named = entry.get("image")
    paths = named if isinstance(named, list) else [] if named is None else [named]
    pictures = []
    for path in paths:
        checked = check_text("image", path)
        if not checked or "\0" in checked:
            raise Rejection("malformed-row", f"image is {named!r}, wanted names of files")
        pictures.append(ImageRef(path=checked, root=root))
    return pictures


def lay_out(turns: Sequence[Turn], pictures: Sequence[ImageRef]) -> tuple[Part, ...]:
    """Turns and pictures in reading order, each tag of the user's replaced by the next picture.

    Pictures for which there is no tag stand before the first question. The line break that
    LLaVA's files have after a tag belongs to the tag and is dropped with it.

    Raises:
        Rejection: ``image-count``, where there are more tags than pictures.
    """
    tags = sum(turn.text.count(TAG) for turn in turns if turn.role == "user")
    if tags > len(pictures):
        raise Rejection("image-count", f"{tags} {TAG} tags, but {len(pictures)} pictures")
    waiting = iter(pictures)
    untagged = len(pictures) - tags
    parts: list[Part] = []
    for turn in turns:
        if turn.role != "user":
            parts.append(TextPart(turn.text, turn.role, loss=turn.role == "assistant"))
            continue
        parts.extend(ImagePart(next(waiting), "user") for _ in range(untagged))
        untagged = 0
        before, *after = turn.text.split(TAG)
        if before:
            parts.append(TextPart(before, "user", loss=False))
        for piece in after:
            parts.append(ImagePart(next(waiting), "user"))
            if text := piece.removeprefix("\n"):
                parts.append(TextPart(text, "user", loss=False))
    return tuple(parts)


def check_text(name: str, value: object) -> str:
    """The value, if it is text that can be encoded.

    Raises:
        Rejection: ``malformed-row``.
    """
    if not isinstance(value, str):
        raise Rejection("malformed-row", f"{name} is {value!r}, wanted a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        # JSON can spell half of a surrogate pair, which no tokenizer takes.
        raise Rejection("malformed-row", f"{name} is {value!r}: {error.reason}") from error
    return value


def _read_turn(number: int, turn: object) -> Turn:
    name = f"conversations[{number}]"
    if not isinstance(turn, dict):
        raise Rejection("malformed-row", f"{name} is {turn!r}, wanted an object")
    word = turn.get("from", turn.get("role"))
    if not isinstance(word, str) or word not in ROLES:
        wanted = ", ".join(ROLES)
        raise Rejection("unknown-role", f"{name} is from {word!r}, wanted one of {wanted}")
    return Turn(ROLES[word], check_text(name, turn.get("value", turn.get("content"))))


def _check_order(turns: Sequence[Turn]) -> None:
    spoken = turns[1:] if turns[0].role == "system" else turns
    for number, turn in enumerate(spoken):
        wanted: Role = "assistant" if number % 2 else "user"
        if turn.role != wanted:
            order = ", ".join(one.role for one in turns)
            raise Rejection("turn-order", f"turns are {order}; wanted user, assistant, user, ...")
        if not turn.text.strip():
            reason = "missing-answer" if turn.role == "assistant" else "empty-turn"
            raise Rejection(reason, f"the {turn.role} says {turn.text!r}")
    if len(spoken) % 2 or not spoken:
        raise Rejection("missing-answer", f"{len(turns)} turns, and the last is not an answer")
