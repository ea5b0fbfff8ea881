"""The source ``mint1t-arxiv``: papers as JSON, their figures as members beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore_blip3.files import find_shards
from mmcore_blip3.interleaved import object_of, parts_of, slots_of
from mmcore_blip3.row_values import spoken
from mmcore_blip3.tar_rows import check_whole, count_rows, read_rows


class MintArxiv:
    """Reads tars in which a paper is a ``.json`` member and one member for every figure.

    A figure whose member is missing is left out of the document.

    Args:
        path: the files, as a path or a glob pattern.
        json_member: suffix of the JSON member.
        texts_key, images_key: its parallel lists; a figure is named by what its member's name
            has behind the paper's key.
        min_images: a paper with fewer figures is rejected.
        separator: between two texts in a row.
    """

    def __init__(
        self,
        *,
        path: str,
        json_member: str,
        texts_key: str,
        images_key: str,
        min_images: int,
        separator: str,
    ) -> None:
        self.path = path
        self.json_member = json_member
        self.texts_key = texts_key
        self.images_key = images_key
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
        document = object_of(self.json_member, row.get(self.json_member))
        read = [
            spoken(f"{self.texts_key}[{number}]", text)
            if text is not None
            else self._picture(number, named, row)
            for number, (text, named) in enumerate(
                slots_of(document, self.texts_key, self.images_key)
            )
        ]
        parts = parts_of(read, separator=self.separator, min_images=self.min_images)
        return Sample(key=key, parts=parts)

    def _picture(self, number: int, named: object, row: Row) -> str | ImageRef | None:
        if named is None:
            return ""  # an empty slot
        if not isinstance(named, str):
            name = f"{self.images_key}[{number}]"
            raise Rejection("malformed-row", f"{name} is {named!r}, wanted a member's name")
        data = row.get(named.lower())  # tar_rows gives suffixes in lower case
        return ImageRef(data=data) if isinstance(data, bytes) else None
