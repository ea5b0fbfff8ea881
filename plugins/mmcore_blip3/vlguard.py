"""The source ``vlguard``: what to answer to harmful requests and pictures, and to harmless ones."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmcore.interfaces import Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit import store
from mmcore.kit.conversation import lay_out, read_pictures, read_turns
from mmcore.kit.files import find_shards, pictures_root
from mmcore.kit.json_rows import SUFFIXES, count_rows, read_rows
from mmcore.kit.kept import INDEXES
from mmcore_blip3.record_files import object_of

JSON, NUMBER, ROOT = "json", "number", "root"

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "safe_instruction": "safe",
        "unsafe_instruction": "unsafe",
        "instruction": "unsafe-picture",
    }
)
"""How an instruction's key in the files tells its kind."""


class VlGuard:
    """Reads ``.json`` and ``.jsonl`` files; every instruction of an entry is a row.

    A row is the entry's undecoded JSON, the number of the instruction in it, and the folder below
    which the pictures lie. An entry in which no instruction can be told is one row, to be rejected.

    Args:
        path: the files, as a path or a glob pattern.
        images: folder of the pictures; empty for the folder of the file.
        instructions: the kinds that are read.
    """

    def __init__(self, *, path: str, images: str, instructions: Collection[str]) -> None:
        self.path = path
        self.images = images
        self.instructions = frozenset(instructions)

    def shards(self) -> Sequence[Shard]:
        shards = find_shards(self.path)
        for shard in shards:
            if not shard.path.endswith(SUFFIXES):
                raise ValueError(f"{shard.path} is no {' or '.join(SUFFIXES)} file ({self.path!r})")
        return shards

    def length(self, shard: Shard) -> int:
        return len(self._index(shard))

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        root = pictures_root(self.images, shard)
        index = self._index(shard)[start:stop]
        if not len(index):
            return
        first, last = int(index[0, 0]), int(index[-1, 0])
        entries = list(read_rows(shard.path, first, last + 1))
        for entry, number in index.tolist():
            yield {JSON: entries[entry - first], NUMBER: number, ROOT: root}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        number, root = row[NUMBER], row[ROOT]
        assert isinstance(number, int)
        assert isinstance(root, str)
        entry = object_of("the entry", row[JSON])
        kinds = kinds_of(entry)
        if not kinds:
            found = entry.get("instr-resp")
            raise Rejection("malformed-row", f"instr-resp is {found!r}, wanted instructions")
        item = entry["instr-resp"][number]  # type: ignore[index]  # kinds_of has looked
        [question] = (item[name] for name in KINDS if name in item)
        said = {"human": question, "gpt": item.get("response")}
        turns = read_turns({"conversations": [{"from": w, "value": t} for w, t in said.items()]})
        pictures = read_pictures(entry, root)
        if not pictures:
            raise Rejection("image-missing", "the entry names no picture")
        return Sample(key=key, parts=lay_out(turns, pictures), group=kinds[number])

    def _index(self, shard: Shard) -> NDArray[np.int64]:
        key = ("vlguard", shard.path, store.version(shard.path), self.instructions)
        return INDEXES.get(
            key, lambda: _index_of(shard.path, self.instructions), lambda index: index.nbytes
        )


def kinds_of(entry: object) -> list[str]:
    """The kind of each instruction of an entry; none where any of them cannot be told."""
    items = entry.get("instr-resp") if isinstance(entry, Mapping) else None
    if not isinstance(items, list):
        return []
    found = [
        [kind for name, kind in KINDS.items() if name in item] if isinstance(item, Mapping) else []
        for item in items
    ]
    return [kinds[0] for kinds in found] if all(len(kinds) == 1 for kinds in found) else []


def _index_of(path: str, instructions: frozenset[str]) -> NDArray[np.int64]:
    """Numbers of the entry, and of the instruction in it, of every row of the file, which is
    small: it names a few thousand pictures."""
    rows = []
    for entry, encoded in enumerate(read_rows(path, 0, count_rows(path))):
        try:
            kinds = kinds_of(json.loads(encoded))
        except (ValueError, RecursionError):
            kinds = []  # parse says what is wrong with it
        rows += [(entry, n) for n, kind in enumerate(kinds) if kind in instructions]
        rows += [] if kinds else [(entry, 0)]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2)
