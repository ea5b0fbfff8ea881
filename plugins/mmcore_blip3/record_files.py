"""JSON, JSONL and parquet files read alike: entries of named values, and the pictures they show."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mmcore.interfaces import ImageRef, Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit import json_rows, parquet_rows
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.row_values import picture_named

JSON, COLUMNS, ROOT = "json", "columns", "root"
"""The row's keys: an undecoded entry, or undecoded columns; and the folder of the pictures."""

SUFFIXES: Final = (*json_rows.SUFFIXES, ".parquet")


class RecordFiles(ABC):
    """Reads all three forms, by the suffix of each file.

    Args:
        path: the files, as a path or a glob pattern.
        columns: the names that are read; others are left on the disk.
        needed: those of them without which a parquet file cannot be read.
        image_columns: of pictures: in parquet encoded bytes, or ``bytes`` and ``path`` together,
            in JSON names of files; one, or a list. The first that holds anything counts.
        name_columns: of names of files, in parquet too; looked at after ``image_columns``.
        images: folder of the pictures; empty for the folder of each file.
    """

    def __init__(
        self,
        *,
        path: str,
        columns: Sequence[str],
        needed: Sequence[str],
        image_columns: Sequence[str],
        name_columns: Sequence[str] = (),
        images: str = "",
    ) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.needed = tuple(needed)
        self.image_columns = tuple(image_columns)
        self.name_columns = tuple(name_columns)
        self.images = images

    @abstractmethod
    def parse(self, row: Row, key: SampleKey) -> Sample:
        """The row as a sample."""

    def shards(self) -> Sequence[Shard]:
        shards = find_shards(self.path)
        for shard in shards:
            if not shard.path.endswith(SUFFIXES):
                wanted = ", ".join(SUFFIXES)
                raise ValueError(f"{shard.path} is none of {wanted} ({self.path!r})")
        return shards

    def length(self, shard: Shard) -> int:
        count = parquet_rows.count_rows if _is_parquet(shard) else json_rows.count_rows
        return count(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root(self.images, shard)
        if not _is_parquet(shard):
            for encoded in json_rows.read_rows(shard.path, start, stop):
                yield {JSON: encoded, ROOT: root}
            return
        for values in parquet_rows.read_rows(shard.path, self._present(shard), start, stop):
            yield {COLUMNS: values, ROOT: root}

    def entry(self, row: Row) -> dict[str, object]:
        """The row's values by name, text decoded; pictures as they are.

        Raises:
            Rejection: ``malformed-json``, or ``malformed-row`` where text is not UTF-8.
        """
        if JSON in row:
            return object_of("the entry", row[JSON])
        columns = row[COLUMNS]
        assert isinstance(columns, Mapping)
        return {
            name: value if name in self.image_columns else _decoded(name, value)
            for name, value in columns.items()
        }

    def pictures(self, entry: Mapping[str, object], row: Row) -> list[ImageRef]:
        """The pictures of an entry, in order; none where no column holds any.

        Raises:
            Rejection: ``malformed-row``, where a column holds something else.
        """
        root = row[ROOT]
        assert isinstance(root, str)
        for name in (*self.image_columns, *self.name_columns):
            held = entry.get(name)
            values = held if isinstance(held, list) else [] if held is None else [held]
            if values:
                return [_picture(name, value, root) for value in values]
        return []

    def _present(self, shard: Shard) -> list[str]:
        present = parquet_rows.column_names(shard.path)
        for name in self.needed:
            if name not in present:
                listing = ", ".join(present)
                raise ValueError(f"{shard.path} has no column {name!r}; it has: {listing}")
        wanted = dict.fromkeys((*self.columns, *self.image_columns, *self.name_columns))
        return [name for name in wanted if name in present]


def object_of(name: str, encoded: object) -> dict[str, object]:
    """The object that some JSON text spells.

    Raises:
        Rejection: ``malformed-json`` or, where it spells something else, ``malformed-row``.
    """
    if not isinstance(encoded, bytes | str):
        raise Rejection("malformed-row", f"{name} is {encoded!r}, wanted JSON text")
    try:
        value = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise Rejection("malformed-row", f"{name} is {value!r}, wanted an object")
    return value


def _decoded(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_decoded(name, one) for one in value]
    if isinstance(value, dict):
        return {key: _decoded(name, one) for key, one in value.items()}
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Rejection("malformed-row", f"{name}: {error}, wanted UTF-8") from error


def _picture(column: str, value: object, root: str) -> ImageRef:
    if isinstance(value, Mapping):
        data = value.get("bytes")
        value = _decoded(column, value.get("path")) if data is None else data
    if isinstance(value, bytes):
        return ImageRef(data=value)
    if value is None:
        raise Rejection("image-missing", f"{column} holds no picture")
    return picture_named(column, value, root)


def _is_parquet(shard: Shard) -> bool:
    return shard.path.endswith(".parquet")
