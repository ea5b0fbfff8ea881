"""Slots of text and pictures, as web pages and papers have them, become parts in reading order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs

from mmcore.interfaces import ImagePart, ImageRef, Part, Rejection, TextPart

Slot = str | ImageRef | None
"""A paragraph, a picture, or nothing: a slot whose picture is not to be had."""


@attrs.frozen(kw_only=True)
class Layout:
    """How slots become the parts of a document.

    Attributes:
        min_images: documents with fewer pictures are rejected.
        max_images: pictures after so many are left out, their text stays; 0: all are kept.
        text_separator: stands between paragraphs that no picture divides.
    """

    min_images: int
    max_images: int
    text_separator: str

    def parts(self, slots: Iterable[Slot]) -> tuple[Part, ...]:
        """Pictures and the text between them; all text is learned.

        Raises:
            Rejection: ``too-few-images`` or ``text-missing``.
        """
        kept = list(self._kept(slots))
        images = sum(isinstance(slot, ImageRef) for slot in kept)
        if images < self.min_images:
            raise Rejection("too-few-images", f"{images} can be used, wanted {self.min_images}")
        if images == len(kept):
            raise Rejection("text-missing", f"there are {images} pictures and no word")
        return tuple(self._joined(kept))

    def _kept(self, slots: Iterable[Slot]) -> Iterator[str | ImageRef]:
        images = 0
        for slot in slots:
            if isinstance(slot, ImageRef):
                images += 1
                if self.max_images and images > self.max_images:
                    continue
            if slot:
                yield slot

    def _joined(self, slots: Iterable[str | ImageRef]) -> Iterator[Part]:
        paragraphs: list[str] = []
        for slot in slots:
            if isinstance(slot, str):
                paragraphs.append(slot)
                continue
            if paragraphs:
                yield TextPart(self.text_separator.join(paragraphs))
                paragraphs = []
            yield ImagePart(slot)
        if paragraphs:
            yield TextPart(self.text_separator.join(paragraphs))


def read_slots(
    texts: object, images: object, picture: Callable[[int, object], ImageRef | None]
) -> Iterator[Slot]:
    """The slots of two lists of the same length, of which at most one holds a value at a place.

    Args:
        texts: paragraphs or None; strings, or bytes in UTF-8.
        images: whatever stands for a picture, or None.
        picture: the picture for such a value and its number among the document's pictures, from
            0; None where it is not to be had.

    Raises:
        Rejection: ``malformed-row``; or what ``picture`` raises.
    """
    if not isinstance(texts, list) or not isinstance(images, list):
        kinds = f"{type(texts).__name__} and {type(images).__name__}"
        raise Rejection("malformed-row", f"texts and images are {kinds}, wanted two lists")
    if len(texts) != len(images):
        raise Rejection(
            "malformed-row",
            f"{len(texts)} texts and {len(images)} images, wanted one slot of each at every place",
        )
    number = 0
    for place, (text, image) in enumerate(zip(texts, images, strict=True)):
        if image is None:
            yield _paragraph(place, text)
        elif text is None:
            yield picture(number, image)
            number += 1
        else:
            raise Rejection("malformed-row", f"slot {place} holds both a text and a picture")


def _paragraph(place: int, value: object) -> str:
    """The text of a slot without the space around it; empty where there is none."""
    try:
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, str):
            value.encode()
    except UnicodeError as error:
        raise Rejection("malformed-row", f"texts[{place}]: {error}, wanted UTF-8") from error
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Rejection("malformed-row", f"texts[{place}] is {value!r}, wanted a string")
    if "\0" in value:
        raise Rejection("malformed-row", f"texts[{place}] is {value!r}, wanted no null bytes")
    return value.strip()
