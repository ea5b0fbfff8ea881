"""From texts and pictures that share one list of slots to the parts of a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, TextPart


def slots_of(row: Mapping[str, object], texts: str, images: str) -> list[tuple[object, object]]:
    """Texts and pictures side by side; in every slot at most one of the two.

    Args:
        row: what holds both lists.
        texts, images: their keys.

    Raises:
        Rejection: ``malformed-row``; a list is missing, their lengths differ, or a slot has both.
    """
    held = [row.get(texts), row.get(images)]
    for name, value in zip((texts, images), held, strict=True):
        if not isinstance(value, list):
            raise Rejection("malformed-row", f"{name} is {value!r}, wanted a list")
    left, right = (list(value) for value in held if isinstance(value, list))
    if len(left) != len(right):
        raise Rejection("malformed-row", f"{len(left)} {texts} and {len(right)} {images}")
    for number, (text, picture) in enumerate(zip(left, right, strict=True)):
        if text is not None and picture is not None:
            raise Rejection("malformed-row", f"slot {number} holds a text and a picture")
    return list(zip(left, right, strict=True))


def parts_of(
    slots: Sequence[str | ImageRef | None], *, separator: str, min_images: int
) -> tuple[Part, ...]:
    """The parts of a document, in reading order, all text learned.

    Args:
        slots: texts and pictures; None for a picture that cannot be had, which is left out.
        separator: put behind a text that another text follows.
        min_images: how many pictures there must be.

    Raises:
        Rejection: ``text-missing``; ``too-few-images``.
    """
    kept = [slot for slot in slots if isinstance(slot, ImageRef) or (slot and slot.strip())]
    pictures = sum(isinstance(slot, ImageRef) for slot in kept)
    if pictures == len(kept):
        raise Rejection("text-missing", f"{len(slots)} slots, and none holds words")
    if pictures < min_images:
        dead = sum(slot is None for slot in slots)
        raise Rejection(
            "too-few-images", f"{pictures} pictures and {dead} dead ones, wanted {min_images}"
        )
    parts: list[Part] = []
    for number, slot in enumerate(kept):
        if isinstance(slot, ImageRef):
            parts.append(ImagePart(slot))
            continue
        assert slot is not None
        text_follows = isinstance(kept[number + 1], str) if number + 1 < len(kept) else False
        parts.append(TextPart(slot.strip() + (separator if text_follows else "")))
    return tuple(parts)


def object_of(name: str, encoded: object) -> Mapping[str, object]:
    """A JSON object from a tar's member.

    Raises:
        Rejection: ``text-missing`` where there is no such member; ``malformed-json``.
    """
    if not isinstance(encoded, bytes):
        raise Rejection("text-missing", f"the row has no member {name!r}")
    try:
        document = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"{name}: {error}") from error
    if not isinstance(document, dict):
        raise Rejection("malformed-json", f"{name} is {document!r}, wanted an object")
    return document
