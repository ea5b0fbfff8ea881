"""From an entry in LLaVA's conversation format to the parts of a sample.

An entry is ``{"image": str | [str], "conversations": [{"from": "human", "value": "..."}]}``; the
words ``user`` and ``assistant``, and the keys ``messages``, ``role`` and ``content``, are read
as well. So are contents in parts, as chat templates take them: see ``message_parts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, Role, TextPart
from mmcore.kit.message_parts import NEXT, Piece, read_content
from mmcore.kit.row_values import check_text, picture_named

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
    """Who speaks, and what.

    Attributes:
        role: the speaker.
        text: the words, in which a tag stands for a picture.
        pieces: words and pictures in order, where the content was given in parts; there, a tag
            among the words is nothing but words.
    """

    role: Role
    text: str
    pieces: tuple[Piece, ...] | None = None


def read_turns(entry: Mapping[str, object], root: str = "") -> list[Turn]:
    """The turns of an entry: perhaps a system turn, then questions and answers in turn.

    Args:
        entry: holds them as ``conversations``, else as ``messages``.
        root: folder of the pictures that a content in parts names itself.

    Raises:
        Rejection: ``malformed-row``, ``empty-conversation``, ``unknown-role``, ``turn-order``,
            ``empty-turn`` or ``missing-answer``; ``image-missing`` or ``image-role`` for a link,
            or for a picture that the user does not show.
    """
    name = "messages" if entry.get("conversations") is None and "messages" in entry else ""
    name = name or "conversations"
    conversation = entry.get(name)
    if not isinstance(conversation, list):
        raise Rejection("malformed-row", f"{name} is {conversation!r}, wanted a list")
    if not conversation:
        raise Rejection("empty-conversation", f"{name} is an empty list")
    turns = [_read_turn(f"{name}[{n}]", turn, root) for n, turn in enumerate(conversation)]
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
    return [picture_named("image", path, root) for path in paths]


def lay_out(turns: Sequence[Turn], pictures: Sequence[ImageRef]) -> tuple[Part, ...]:
    """Turns and pictures in reading order, each tag of the user's replaced by the next picture.

    Pictures for which there is no tag stand before the first question. The line break that
    LLaVA's files have after a tag belongs to the tag and is dropped with it.

    Raises:
        Rejection: ``image-count``, where there are more tags than pictures.
    """
    spoken = [(turn.role, _pieces(turn)) for turn in turns]
    tags = sum(piece is NEXT for _, pieces in spoken for piece in pieces)
    if tags > len(pictures):
        raise Rejection("image-count", f"{tags} {TAG} tags, but {len(pictures)} pictures")
    waiting = iter(pictures)
    untagged = len(pictures) - tags
    parts: list[Part] = []
    for role, pieces in spoken:
        if role == "user":
            parts.extend(ImagePart(next(waiting), "user") for _ in range(untagged))
            untagged = 0
        for piece in pieces:
            if isinstance(piece, str):
                parts.append(TextPart(piece, role, loss=role == "assistant"))
            else:
                parts.append(ImagePart(next(waiting) if piece is NEXT else piece, role))
    return tuple(parts)


def _pieces(turn: Turn) -> tuple[Piece, ...]:
    """Words and pictures of a turn; tags are the user's alone."""
    if turn.pieces is not None:
        return turn.pieces
    if turn.role != "user":
        return (turn.text,)
    before, *after = turn.text.split(TAG)
    pieces: list[Piece] = [before]
    for piece in after:
        pieces += [NEXT, piece.removeprefix("\n")]
    return tuple(piece for piece in pieces if piece != "")


def _read_turn(name: str, turn: object, root: str) -> Turn:
    if not isinstance(turn, dict):
        raise Rejection("malformed-row", f"{name} is {turn!r}, wanted an object")
    word = turn.get("from", turn.get("role"))
    if not isinstance(word, str) or word not in ROLES:
        wanted = ", ".join(ROLES)
        raise Rejection("unknown-role", f"{name} is from {word!r}, wanted one of {wanted}")
    role, content = ROLES[word], turn.get("value", turn.get("content"))
    if not isinstance(content, list):
        return Turn(role, check_text(name, content))
    pieces = read_content(name, content, root)
    if role != "user" and not all(isinstance(piece, str) for piece in pieces):
        raise Rejection("image-role", f"{name} shows a picture, and only the user may")
    return Turn(role, "".join(p if isinstance(p, str) else TAG for p in pieces), pieces)


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
