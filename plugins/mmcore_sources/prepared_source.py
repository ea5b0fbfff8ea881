"""The source ``prepared-pairs``: rows of JSON lines, pictures below the folder of their file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mmcore.interfaces import Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit import json_rows
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.pair_rows import pair_of

JSON, ROOT = "json", "root"
"""The row's keys: an undecoded line, and the folder of its pictures."""


class PreparedPairs:
    """Reads what ``mmcore.kit.pair_rows`` writes.

    Args:
        path: the files, as a path or a glob pattern.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def shards(self) -> Sequence[Shard]:
        shards = find_shards(self.path)
        for shard in shards:
            if not shard.path.endswith(".jsonl"):
                raise ValueError(f"{shard.path} is no .jsonl file ({self.path!r})")
        return shards

    def length(self, shard: Shard) -> int:
        return json_rows.count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root("", shard)
        for line in json_rows.read_rows(shard.path, start, stop):
            yield {JSON: line, ROOT: root}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        line, root = row[JSON], row[ROOT]
        assert isinstance(line, bytes)
        assert isinstance(root, str)
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Rejection("malformed-json", f"the row: {error}") from error
        if not isinstance(entry, dict):
            raise Rejection("malformed-row", f"the row is {entry!r}, wanted an object")
        return pair_of(entry, key, root)
