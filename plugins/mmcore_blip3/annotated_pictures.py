"""Parquet files of annotations beside which the pictures were downloaded, by name or as bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Rejection,
    Row,
    Sample,
    SampleKey,
    Shard,
    TextPart,
)
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.parquet_rows import column_names, count_rows, read_rows

NAME, DATA, ROOT = "name", "data", "root"
"""The row's keys for the picture, whatever the columns are called."""


class AnnotatedPictures(ABC):
    """One picture a row, and a text that is found in the row's annotations.

    A row holds the undecoded annotations, the picture's bytes or file name, and the folder below
    which the pictures lie.

    Args:
        path: the files, as a path or a glob pattern.
        annotations: the column that ``text`` reads, which is the row's key for it too.
        images: folder of the pictures; empty for the folder of the file.
        image_column: the column that names the picture's file.
        bytes_column: the column that holds the encoded picture; goes before ``image_column``.
        prepare: the command that adds this column to the published files.
    """

    def __init__(
        self,
        *,
        path: str,
        annotations: str,
        images: str,
        image_column: str,
        bytes_column: str,
        prepare: str,
    ) -> None:
        self.path = path
        self.prepare = prepare
        self.annotations = annotations
        self.images = images
        self.image_column = image_column
        self.bytes_column = bytes_column

    @abstractmethod
    def text(self, annotations: object) -> str:
        """What is learned.

        Raises:
            Rejection: the annotations hold no such text.
        """

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root(self.images, shard)
        keys = self._columns(shard)
        for row in read_rows(shard.path, list(keys), start, stop):
            yield {ROOT: root, **{keys[column]: value for column, value in row.items()}}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        text = self.text(row[self.annotations])
        return Sample(key=key, parts=(ImagePart(self._picture(row)), TextPart(text)))

    def _picture(self, row: Row) -> ImageRef:
        data, name, root = row.get(DATA), row.get(NAME), row[ROOT]
        assert isinstance(root, str)
        if isinstance(data, bytes):
            return ImageRef(data=data)
        if not isinstance(name, bytes):
            raise Rejection("image-missing", f"the row holds no picture, its name is {name!r}")
        try:
            path = name.decode()
        except UnicodeDecodeError as error:
            raise Rejection("malformed-row", f"name of the picture: {error}") from error
        if not path or "\0" in path:
            raise Rejection("malformed-row", f"name of the picture is {path!r}")
        return ImageRef(path=path, root=root)

    def _columns(self, shard: Shard) -> dict[str, str]:
        """The columns to be read, and the row's keys for them; others are left on the disk."""
        present = column_names(shard.path)
        listing = ", ".join(present)
        if self.annotations not in present:
            raise ValueError(f"{shard.path} has no column {self.annotations!r}; it has: {listing}")
        pictures = {self.bytes_column: DATA, self.image_column: NAME}
        found = {column: key for column, key in pictures.items() if column in present}
        if not found:
            raise ValueError(
                f"{shard.path} has neither column {self.bytes_column!r} nor "
                f"{self.image_column!r}, from which pictures are read, for training fetches "
                f"nothing: `{self.prepare}`; it has: {listing}"
            )
        return {self.annotations: self.annotations, **found}
