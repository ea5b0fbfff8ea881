"""Any page of a TIFF at the price of the first: where the pages begin is read once a file."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmcore.kit.kept import Kept

_PAGES: Final = Kept(16 * 1024 * 1024)
"""Where the pages of the files used last begin, 8 bytes each."""


def is_tiff(data: bytes) -> bool:
    return _Form.of(data) is not None


def at_page(data: bytes, page: int) -> io.BytesIO:
    """The file with that page as its first, and nothing copied.

    Decoders go from page to page, and read the tags of all before the one that is wanted; but they
    begin where the file's header says.

    Raises:
        EOFError: the file ends before this page.
    """
    form = _Form.of(data)
    assert form is not None, "no TIFF"

    def read() -> NDArray[np.int64]:
        return np.fromiter(form.pages(data), np.int64)

    # Python keeps the hash of bytes, so it is made once a file.
    pages = _PAGES.get((len(data), hash(data)), read, lambda found: found.nbytes)
    if page >= len(pages):
        raise EOFError(f"{len(pages)} pages")
    return _Beginning(data, form.head(data, int(pages[page])))


class _Form:
    """How numbers are written, in TIFF or in BigTIFF.

    A page's directory is the number of its entries, the entries, and where the next page's is.
    """

    def __init__(self, order: str, *, big: bool) -> None:
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._place = struct.Struct(order + ("Q" if big else "I"))
        self._entry, self._at = (20, 8) if big else (12, 4)

    @classmethod
    def of(cls, data: bytes) -> _Form | None:
        """None for anything that is no TIFF."""
        found = {
            b"II*\0": ("<", False),
            b"MM\0*": (">", False),
            b"II+\0": ("<", True),
            b"MM\0+": (">", True),
        }.get(data[:4])
        return None if found is None or len(data) < 16 else cls(found[0], big=found[1])

    def pages(self, data: bytes) -> Iterator[int]:
        """Where the directories are. One beyond the end of a damaged file is the last."""
        seen = set()
        (place,) = self._place.unpack_from(data, self._at)
        while place and place not in seen:
            yield min(place, len(data))
            seen.add(place)
            try:
                (entries,) = self._count.unpack_from(data, place)
                after = place + self._count.size + entries * self._entry
                (place,) = self._place.unpack_from(data, after)
            except (struct.error, OverflowError):
                return

    def head(self, data: bytes, place: int) -> bytes:
        """The header of the file if the page at this place were the first."""
        head = bytearray(data[: self._at + self._place.size])
        self._place.pack_into(head, self._at, place)
        return bytes(head)


class _Beginning(io.BytesIO):
    """Bytes, of which the first are read as others."""

    def __init__(self, data: bytes, head: bytes) -> None:
        super().__init__(data)
        self._head = head

    def read(self, size: int | None = -1, /) -> bytes:
        at = self.tell()
        data = super().read(size)
        if at >= len(self._head):
            return data
        head = self._head[at : at + len(data)]
        return head + data[len(head) :]
