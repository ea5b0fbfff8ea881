"""The source ``llava-json``: conversations about pictures in LLaVA's JSON format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from mmcore.interfaces import Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit.conversation import lay_out, read_pictures, read_turns
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.json_rows import SUFFIXES, count_rows, read_rows
from mmcore.kit.row_values import check_text

JSON: Final = "json"
IMAGES: Final = "images"


class LlavaJsonSource:
    """Reads ``.json`` and ``.jsonl`` files of conversations.

    A row is the entry's undecoded JSON and the folder below which its pictures lie.

    Args:
        path: the files, as a path or a glob pattern.
        images: folder of the pictures; empty for the folder of the file.
    """

    def __init__(self, *, path: str, images: str = "") -> None:
        self.path = path
        self.images = images

    def shards(self) -> Sequence[Shard]:
        shards = find_shards(self.path)
        for shard in shards:
            if not shard.path.endswith(SUFFIXES):
                raise ValueError(f"{shard.path} is no {' or '.join(SUFFIXES)} file ({self.path!r})")
        return shards

    def length(self, shard: Shard) -> int:
        return count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root(self.images, shard)
        for encoded in read_rows(shard.path, start, stop):
            yield {JSON: encoded, IMAGES: root}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        encoded, root = row[JSON], row[IMAGES]
        assert isinstance(encoded, bytes)
        assert isinstance(root, str)
        try:
            entry = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise Rejection("malformed-json", f"{error}") from error
        if not isinstance(entry, dict):
            raise Rejection("malformed-row", f"the entry is {entry!r}, wanted an object")
        parts = lay_out(read_turns(entry, root), read_pictures(entry, root))
        return Sample(key=key, parts=parts, group=check_text("kind", entry.get("kind", "")))
