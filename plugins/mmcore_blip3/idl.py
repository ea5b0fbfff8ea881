"""The source ``idl``: scanned documents page by page, with the lines that OCR found on them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Part,
    Rejection,
    Row,
    Sample,
    SampleKey,
    Shard,
    TextPart,
)
from mmcore.kit.files import find_shards
from mmcore.kit.tar_rows import check_whole, count_rows, read_rows


class IdlSource:
    """Reads tars of documents; a row is a document's members, and becomes its pages in order.

    A page without lines is left out. The picture of page i is frame i of the image member.

    Args:
        path: the files, as a path or a glob pattern.
        image_members: suffixes of the pages' picture; the first that is there counts.
        text_member: suffix of the JSON of what was read.
        pages_key: its key for the list of pages.
        lines_key: a page's key for its lines, in reading order.
    """

    def __init__(
        self,
        *,
        path: str,
        image_members: Sequence[str],
        text_member: str,
        pages_key: str,
        lines_key: str,
    ) -> None:
        self.path = path
        self.image_members = tuple(image_members)
        self.text_member = text_member
        self.pages_key = pages_key
        self.lines_key = lines_key

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        yield from read_rows(shard.path, start, stop)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        check_whole(row)
        data = self._picture(row)
        parts: list[Part] = []
        for number, page in enumerate(self._pages(row)):
            if text := self._text(number, page):
                parts += [ImagePart(ImageRef(data=data, frame=number)), TextPart(text)]
        if not parts:
            raise Rejection("caption-missing", f"no page has {self.lines_key} with words")
        return Sample(key=key, parts=tuple(parts))

    def _picture(self, row: Row) -> bytes:
        for suffix in self.image_members:
            data = row.get(suffix)
            if isinstance(data, bytes):
                return data
        wanted = ", ".join(self.image_members)
        raise Rejection("image-missing", f"members are {', '.join(row)}; wanted one of {wanted}")

    def _pages(self, row: Row) -> list[object]:
        encoded = row.get(self.text_member)
        if not isinstance(encoded, bytes):
            raise Rejection("caption-missing", f"the row has no member {self.text_member!r}")
        try:
            document = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise Rejection("malformed-json", f"{self.text_member}: {error}") from error
        pages = document.get(self.pages_key) if isinstance(document, dict) else None
        if not isinstance(pages, list):
            raise Rejection("malformed-row", f"{self.pages_key} is {pages!r}, wanted a list")
        return pages

    def _text(self, number: int, page: object) -> str:
        """The lines of a page, one below the other."""
        name = f"{self.pages_key}[{number}].{self.lines_key}"
        lines = page.get(self.lines_key) if isinstance(page, dict) else None
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise Rejection("malformed-row", f"{name} is {lines!r}, wanted a list of strings")
        text = "\n".join(line for line in lines if line.strip())
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Rejection("malformed-row", f"{name} is {lines!r}: {error.reason}") from error
        if "\0" in text:
            raise Rejection("malformed-row", f"{name} is {lines!r}, wanted no null bytes")
        return text
