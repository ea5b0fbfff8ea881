"""What MINT-1T's tars have in common: a document's JSON, and its pictures in other members."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit.files import find_shards
from mmcore.kit.tar_rows import FIRST_DOT, check_whole, count_rows, read_rows
from mmcore_blip3.interleaved import Layout, read_slots

DOCUMENT: Final = "json"
"""Suffix of the member that holds the text."""

FindPicture = Callable[[int, object], ImageRef | None]
"""From a picture's number in the document, and what its slot says, to the picture."""


class TarDocuments(ABC):
    """Reads tars of documents. A row is a document's members, none of them decoded.

    Args:
        path: the files, as a path or a glob pattern.
        layout: how slots become parts.
    """

    texts_key = "texts"
    images_key = "images"
    key_pattern = FIRST_DOT

    def __init__(self, *, path: str, layout: Layout) -> None:
        self.path = path
        self.layout = layout

    @abstractmethod
    def finder(self, document: Mapping[str, object], row: Row) -> FindPicture:
        """How the pictures of a document are found among its members.

        Raises:
            Rejection: what the document says of them makes no sense.
        """

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path, self.key_pattern)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        yield from read_rows(shard.path, start, stop, self.key_pattern)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        check_whole(row)
        document = _document(row)
        texts, images = document.get(self.texts_key), document.get(self.images_key)
        slots = read_slots(texts, images, self.finder(document, row))
        return Sample(key=key, parts=self.layout.parts(slots))


def _document(row: Row) -> dict[str, object]:
    encoded = row.get(DOCUMENT)
    if not isinstance(encoded, bytes):
        raise Rejection("text-missing", f"the row has no member {DOCUMENT!r}")
    try:
        document = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"{error}") from error
    if not isinstance(document, dict):
        raise Rejection("malformed-row", f"the document is {document!r}, wanted an object")
    return document
