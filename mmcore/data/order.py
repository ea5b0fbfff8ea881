"""The order in which one lane visits the rows of one source: shards, blocks, runs, rows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence, Set

import attrs
import numpy as np
from numpy.typing import NDArray

from mmcore.data.reader import SourceReader
from mmcore.data.stable_hash import shuffled, stable_hash
from mmcore.interfaces import Row, Shard


@attrs.frozen
class DrawnRow:
    """A row and its place."""

    shard: Shard
    number: int
    row: Row


@attrs.define
class Cursor:
    """Where a lane stands in a source.

    Attributes:
        epoch: how often the lane went through all shards.
        shard: position in this epoch's order of shards.
        block: position among the lane's blocks of that shard.
        start: rows of the block that earlier visits took.
        row: rows of the present visit that were drawn.
    """

    epoch: int = 0
    shard: int = 0
    block: int = 0
    start: int = 0
    row: int = 0


class RowOrder:
    """An endless stream of rows. Over one epoch, every row goes to exactly one lane.

    A shard is cut into blocks; the blocks are shuffled and dealt to the lanes, beginning at a
    lane that changes from epoch to epoch. A lane reads a block in runs of bounded size, and
    shuffles the rows of a run. All of it follows from (seed, epoch, source, shard), so a cursor
    says everything.

    Args:
        reader: the source.
        seed: of the shuffle.
        lane, lanes: which lane this is, of how many.
        block_rows: rows of a block; smaller in shards that would not give every lane a block.
        visit_bytes: a visit of a shard ends when its rows reach this size; the block goes on at
            the next visit.
        cursor: where to go on.
    """

    def __init__(
        self,
        reader: SourceReader,
        *,
        seed: int,
        lane: int,
        lanes: int,
        block_rows: int,
        visit_bytes: int,
        cursor: Sequence[int] = (),
    ) -> None:
        self._reader, self._seed = reader, seed
        self._lane, self._lanes, self._block_rows = lane, lanes, block_rows
        self._visit_bytes = visit_bytes
        self._cursor = Cursor(*cursor)
        self._run: list[DrawnRow] | None = None
        self._shards: tuple[int, Sequence[Shard]] = (-1, ())
        self._run_rows = self._block_left = 0

    @property
    def cursor(self) -> list[int]:
        """Where the stream stands; a new stream with this cursor goes on with the same rows."""
        return list(attrs.astuple(self._cursor))

    def next(self) -> DrawnRow:
        """The next row.

        Raises:
            EmptySource: no shard holds a row.
            DataFault: a shard cannot be read.
        """
        while True:
            if self._run is None:
                self._run = self._visit()
            if self._run:
                self._cursor.row += 1
                return self._run.pop()
            self._advance()

    def _visit(self) -> list[DrawnRow]:
        """The rows still to be drawn of the run at the cursor, last one first; none where the
        lane has no further block in the shard."""
        cursor = self._cursor
        shard = self._shard_order()[cursor.shard]
        rows = self._reader.length(shard)
        size = max(1, min(self._block_rows, rows // self._lanes))
        blocks = self._blocks(shard, -(-rows // size))
        self._run_rows = self._block_left = 0
        if cursor.block >= len(blocks):
            return []
        begin = int(blocks[cursor.block]) * size
        start, stop = begin + cursor.start, min(begin + size, rows)
        run = self._read(shard, start, stop)
        self._run_rows, self._block_left = len(run), stop - start - len(run)
        order = shuffled(len(run), *self._words(shard), "rows", start)
        return [run[index] for index in order[cursor.row :][::-1]]

    def _read(self, shard: Shard, start: int, stop: int) -> list[DrawnRow]:
        run, held = [], 0
        for number, row in self._reader.rows(shard, start, stop):
            run.append(DrawnRow(shard, number, row))
            held += sum(_bytes_of(value) for value in row.values())
            if held >= self._visit_bytes:
                break
        return run

    def _advance(self) -> None:
        """Move the cursor to the next run: of the block, the shard, the epoch."""
        cursor, self._run = self._cursor, None
        cursor.row = 0
        if self._block_left:
            cursor.start += self._run_rows
            return
        cursor.start = 0
        if self._run_rows:
            cursor.block += 1
            return
        cursor.block = 0
        cursor.shard += 1
        if cursor.shard == len(self._shard_order()):
            cursor.shard = 0
            cursor.epoch += 1
            self._reader.check_not_empty()

    def _shard_order(self) -> Sequence[Shard]:
        epoch, shards = self._shards
        if epoch != self._cursor.epoch:
            epoch, shards = self._cursor.epoch, self._reader.shards
            if not shards:
                self._reader.check_not_empty()
            words = (self._seed, "shards", epoch, self._lane, self._reader.label)
            shards = sorted(shards, key=lambda shard: stable_hash(*words, shard.name))
            self._shards = epoch, shards
        return shards

    def _blocks(self, shard: Shard, count: int) -> NDArray[np.int64]:
        """This lane's blocks of the shard, in the order of its visits."""
        words = self._words(shard)
        first = (self._lane - stable_hash(*words, "deal")) % self._lanes
        return shuffled(count, *words, "blocks")[first :: self._lanes]

    def _words(self, shard: Shard) -> tuple[object, ...]:
        return self._seed, self._cursor.epoch, self._reader.label, shard.name


def _bytes_of(value: object) -> int:
    """What a value of a row holds in bytes and strings, alone, in lists or in records."""
    if isinstance(value, (bytes, bytearray, str)):
        return len(value)
    if isinstance(value, memoryview):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    return sum(map(_bytes_of, value)) if isinstance(value, (list, tuple)) else 0


def read_rows(reader: SourceReader, shard: Shard, numbers: Set[int], gap: int) -> dict[int, Row]:
    """Single rows of a shard, read in few visits: rows less than ``gap`` apart together."""
    wanted = sorted(numbers)
    far = [0, *(i for i in range(1, len(wanted)) if wanted[i] - wanted[i - 1] > gap), len(wanted)]
    found = {}
    for first, last in itertools.pairwise(far):
        for number, row in reader.rows(shard, wanted[first], wanted[last - 1] + 1):
            if number in numbers:
                found[number] = row
    return found
