"""Contents in parts, as chat templates take them: texts, and pictures at their places.

A part is ``{"type": "text", "text": "..."}`` or ``{"type": "image"}``. A picture without more is
the next of the row's own; it may also say where it lies (``image``, ``path``, ``url`` or
``image_url``: a file's name, a ``data:`` URL, or ``{"url": ...}``), or be the encoded bytes.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Sequence
from typing import Final, Literal

from mmcore.interfaces import ImageRef, Rejection
from mmcore.kit.row_values import check_text, picture_named


class Mark(enum.Enum):
    """Stands for a picture among pieces."""

    NEXT = "the next picture of the row"


NEXT: Final = Mark.NEXT

Piece = str | ImageRef | Literal[Mark.NEXT]

TEXTS: Final = ("text", "input_text", "output_text")
PICTURES: Final = ("image", "image_url", "input_image")
_PLACES: Final = ("image", "image_url", "path", "url", "bytes")


def read_content(name: str, content: Sequence[object], root: str) -> tuple[Piece, ...]:
    """Words and pictures in order; parts without words are left out.

    Args:
        name: of the content, for messages.
        content: its parts.
        root: folder of the pictures that are named.

    Raises:
        Rejection: ``malformed-row``; or ``image-missing``, where a picture is a link.
    """
    pieces = (_read_part(f"{name}[{n}]", part, root) for n, part in enumerate(content))
    return tuple(piece for piece in pieces if piece != "")


def _read_part(name: str, part: object, root: str) -> Piece:
    if not isinstance(part, dict):
        raise Rejection("malformed-row", f"{name} is {part!r}, wanted an object")
    kind = part.get("type")
    if kind in TEXTS:
        return check_text(name, part.get("text"))
    if kind not in PICTURES:
        wanted = ", ".join(TEXTS + PICTURES)
        raise Rejection("malformed-row", f"{name} has type {kind!r}, wanted one of {wanted}")
    # Columns of one type have all keys in all parts, and null where a key does not belong.
    said = next((part[key] for key in _PLACES if part.get(key) is not None), None)
    return NEXT if said is None else _said_picture(name, said, root)


def _said_picture(name: str, said: object, root: str) -> Piece:
    if isinstance(said, dict):
        places = (said[key] for key in ("bytes", "url", "path") if said.get(key) is not None)
        said = next(places, None)
    if isinstance(said, bytes):
        return ImageRef(data=said)
    if isinstance(said, str) and said.startswith("data:"):
        return ImageRef(data=_unpacked(name, said))
    if isinstance(said, str) and "://" in said:
        raise Rejection("image-missing", f"{name} is the link {said!r}; training fetches nothing")
    return picture_named(name, said, root)


def _unpacked(name: str, url: str) -> bytes:
    head, _, body = url.partition(",")
    if not head.endswith(";base64"):
        raise Rejection("malformed-row", f"{name} is {head!r}, wanted data:...;base64")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Rejection("malformed-row", f"{name}: {error}, wanted base64") from error
