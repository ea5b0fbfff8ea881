"""The source ``mint1t-pdf``: PDF files as JSON, their pictures as frames of one TIFF."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore_blip3.files import find_shards
from mmcore_blip3.interleaved import object_of, parts_of, slots_of
from mmcore_blip3.row_values import spoken
from mmcore_blip3.tar_rows import check_whole, count_rows, read_rows

JSON: Final = "json"
SLOT: Final = re.compile(r"page_(\d+)_image_(\d+)")


class MintPdf:
    """Reads tars in which a document is a ``.json`` and a ``.tiff`` member.

    The JSON's ``texts`` and ``images`` are parallel; a picture is named ``page_P_image_X``, and
    is the frame whose entry in ``image_metadata`` has that page and xref. One without an entry is
    left out of the document.

    Args:
        path: the files, as a path or a glob pattern.
        image_members: suffixes of the pictures' member; the first that is there counts.
        min_images: a document with fewer is rejected.
        separator: between two texts in a row.
    """

    def __init__(
        self, *, path: str, image_members: Sequence[str], min_images: int, separator: str
    ) -> None:
        self.path = path
        self.image_members = tuple(image_members)
        self.min_images = min_images
        self.separator = separator

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        yield from read_rows(shard.path, start, stop)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        check_whole(row)
        document = object_of(JSON, row.get(JSON))
        data = self._pictures(row)
        frames = _frames(document.get("image_metadata"))
        read: list[str | ImageRef | None] = []
        for number, (text, named) in enumerate(slots_of(document, "texts", "images")):
            if text is not None:
                read.append(spoken(f"texts[{number}]", text))
            elif named is not None:
                frame = frames.get(_place(number, named))
                here = data is not None and frame is not None
                read.append(ImageRef(data=data, frame=frame or 0) if here else None)
        parts = parts_of(read, separator=self.separator, min_images=self.min_images)
        return Sample(key=key, parts=parts)

    def _pictures(self, row: Row) -> bytes | None:
        found = (row.get(suffix) for suffix in self.image_members)
        return next((data for data in found if isinstance(data, bytes)), None)


def _place(number: int, named: object) -> tuple[int, int]:
    """Page and xref of a picture's name."""
    match = SLOT.fullmatch(named) if isinstance(named, str) else None
    if match is None:
        raise Rejection("malformed-row", f"images[{number}] is {named!r}, wanted 'page_P_image_X'")
    return int(match[1]), int(match[2])


def _frames(entries: object) -> Mapping[tuple[int, int], int]:
    """Frame numbers by page and xref; the first of two entries for one picture counts."""
    if not isinstance(entries, list):
        raise Rejection("malformed-row", f"image_metadata is {entries!r}, wanted a list")
    frames: dict[tuple[int, int], int] = {}
    for frame, entry in enumerate(entries):
        page, xref = (entry.get("page"), entry.get("xref")) if isinstance(entry, dict) else (0, "")
        if not isinstance(page, int) or not isinstance(xref, int):
            raise Rejection(
                "malformed-row",
                f"image_metadata[{frame}] is {entry!r}, wanted an object with page and xref",
            )
        frames.setdefault((page, xref), frame)
    return frames
