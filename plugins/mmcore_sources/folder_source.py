"""The source ``captioned-folder``: pictures with text files beside them, or a metadata file."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

import attrs

from mmcore.interfaces import Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit import json_rows, store
from mmcore.kit.files import find_shards, pictures_root
from mmcore_sources.csv_rows import CsvTable, csv_table
from mmcore_sources.samples import PICTURES, ROOT, TEXT, sample_of

PICTURE_SUFFIXES: Final = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
METADATA: Final = ("metadata.jsonl", "metadata.csv")
FILE_NAME: Final = "file_name"
JSON: Final = "json"

PICTURES_OF_A_SHARD: Final = 1000
"""A folder's pictures are divided into shards of so many."""


@attrs.frozen
class _Chunk:
    """Pictures of one folder, each with its caption's file or none; names are below the root."""

    pictures: tuple[tuple[str, str | None], ...]


class CaptionedFolderSource:
    """Reads a folder. Its files are listed once, when the source is first asked.

    Args:
        path: the folder.
        captions: ``auto``, ``files`` or ``metadata``, as the spec says.
        caption_suffix: of the text files.
        text_column: of the captions in metadata files.
    """

    def __init__(self, *, path: str, captions: str, caption_suffix: str, text_column: str) -> None:
        self.path, self.captions = path.rstrip("/"), captions
        self.caption_suffix = f".{caption_suffix.lstrip('.')}"
        self.text_column = text_column

    def shards(self) -> Sequence[Shard]:
        return tuple(self._listing)

    def length(self, shard: Shard) -> int:
        chunk = self._listing[shard]
        if chunk is not None:
            return len(chunk.pictures)
        if shard.path.endswith(".csv"):
            return len(self._table(shard))
        return json_rows.count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        chunk = self._listing[shard]
        if chunk is not None:
            yield from self._of_files(chunk, start, stop)
            return
        root = pictures_root("", shard)
        if shard.path.endswith(".csv"):
            for values in self._table(shard).rows(start, stop):
                yield _metadata_row(values, self.text_column, root)
            return
        for encoded in json_rows.read_rows(shard.path, start, stop):
            yield {JSON: encoded, ROOT: root}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        if JSON in row:
            row = _metadata_row(_entry(row[JSON]), self.text_column, row[ROOT])
        if row[TEXT] is None:
            raise Rejection("caption-missing", f"nothing is written about {row[PICTURES]}")
        return sample_of(row, key)

    def _of_files(self, chunk: _Chunk, start: int, stop: int) -> Iterator[Row]:
        for picture, caption in chunk.pictures[start:stop]:
            text = None
            if caption is not None:
                text = store.read_bytes(store.join(self.path, caption))
            yield {PICTURES: [picture], ROOT: self.path, TEXT: text}

    def _table(self, shard: Shard) -> CsvTable:
        table = csv_table(shard.path)
        table.check((FILE_NAME, self.text_column))
        return table

    @functools.cached_property
    def _listing(self) -> Mapping[Shard, _Chunk | None]:
        """The shards in order, with their pictures; None for a metadata file.

        Raises:
            FileNotFoundError: there is no such folder, or nothing in it that can be read.
        """
        files = {shard.name: shard for shard in find_shards(f"{self.path}/**/*")}
        described = {} if self.captions == "files" else _metadata_files(files)
        shards: dict[Shard, _Chunk | None] = {files[name]: None for name in described.values()}
        if self.captions != "metadata":
            shards |= self._chunks(files, set(described))
        if not shards:
            wanted = " or ".join(METADATA) if self.captions == "metadata" else "pictures"
            raise FileNotFoundError(
                f"no {wanted} in {self.path!r}, among {len(files)} files there and below"
            )
        return shards

    def _chunks(self, files: Mapping[str, Shard], described: set[str]) -> dict[Shard, _Chunk]:
        """The pictures of folders that no metadata file describes, in shards."""
        by_folder: dict[str, list[tuple[str, str | None]]] = {}
        for name in files:
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in PICTURE_SUFFIXES:
                caption = stem + self.caption_suffix
                pair = (name, caption if caption in files else None)
                by_folder.setdefault(name.rpartition("/")[0] or ".", []).append(pair)
        chunks = {}
        for folder, pictures in by_folder.items():
            if described & {folder, *map(str, PurePosixPath(folder).parents)}:
                continue
            for start in range(0, len(pictures), PICTURES_OF_A_SHARD):
                part = tuple(pictures[start : start + PICTURES_OF_A_SHARD])
                chunks[Shard(f"{folder}@{start}", f"{self.path}/{folder}")] = _Chunk(part)
        return chunks


def _metadata_files(files: Mapping[str, Shard]) -> dict[str, str]:
    """The metadata file of every folder that has one; JSON goes before CSV."""
    found: dict[str, str] = {}
    for wanted in METADATA:
        for name in files:
            folder, _, file = name.rpartition("/")
            if file == wanted:
                found.setdefault(folder or ".", name)
    return dict(sorted(found.items()))


def _metadata_row(values: Mapping[str, object], text_column: str, root: object) -> Row:
    return {PICTURES: [values.get(FILE_NAME)], ROOT: root, TEXT: values.get(text_column)}


def _entry(encoded: object) -> Mapping[str, object]:
    assert isinstance(encoded, bytes)
    try:
        entry = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"{error}") from error
    if not isinstance(entry, dict):
        raise Rejection("malformed-row", f"the line is {entry!r}, wanted an object")
    return entry
