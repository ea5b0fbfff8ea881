"""The source ``mint1t-pdf``: documents whose pictures are the frames of one TIFF."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row
from mmcore_blip3.interleaved import Layout
from mmcore_blip3.tar_documents import FindPicture, TarDocuments

FRAMES: Final = "tiff"
"""Suffix of the member that holds all pictures of a document."""

METADATA: Final = "image_metadata"
"""The document's key for what is known of the pictures, frame by frame."""

_SLOT: Final = re.compile(r"page_(\d{1,9})_image_(\d{1,9})")


class Mint1tPdfSource(TarDocuments):
    """A slot names a page and a number in it; the entry of ``image_metadata`` with both says
    which frame it is. A slot without such an entry is left out, as if its link were dead.

    Args:
        path: the files, as a path or a glob pattern.
        layout: how slots become parts.
        min_side: pictures with a shorter side are left out, by their metadata.
    """

    def __init__(self, *, path: str, layout: Layout, min_side: int = 0) -> None:
        super().__init__(path=path, layout=layout)
        self.min_side = min_side

    def finder(self, document: Mapping[str, object], row: Row) -> FindPicture:
        # Of two entries for one picture the first counts.
        entries = reversed(list(_entries(document.get(METADATA))))
        frames = {place: (frame, side) for frame, place, side in entries}

        def find(_number: int, slot: object) -> ImageRef | None:
            named = _SLOT.fullmatch(slot) if isinstance(slot, str) else None
            if named is None:
                raise Rejection("malformed-row", f"a picture is {slot!r}, wanted page_P_image_N")
            frame, side = frames.get((int(named[1]), int(named[2])), (-1, 0))
            if frame < 0 or side < self.min_side:
                return None
            data = row.get(FRAMES)
            if not isinstance(data, bytes):
                raise Rejection("image-missing", f"the row has no member {FRAMES!r}")
            return ImageRef(data=data, frame=frame)

        return find


def _entries(metadata: object) -> Iterator[tuple[int, tuple[int, int], int]]:
    """Frame, page and number in it, and shorter side of every picture."""
    if metadata is None:
        metadata = []
    if not isinstance(metadata, list):
        raise Rejection("malformed-row", f"{METADATA} is {metadata!r}, wanted a list")
    for frame, entry in enumerate(metadata):
        values = entry if isinstance(entry, dict) else {}
        page, xref, *sides = (values.get(one) for one in ("page", "xref", "width", "height"))
        known = [side for side in sides if isinstance(side, int)]
        if not isinstance(page, int) or not isinstance(xref, int):
            raise Rejection(
                "malformed-row", f"{METADATA}[{frame}] is {entry!r}, wanted page and xref"
            )
        yield frame, (page, xref), min(known, default=0)
