"""The held-out rows of a stage: found by their keys, read once, packed the same way every time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mmcore.data.collate import blank_batch, collate
from mmcore.data.faults import DataFault, describe
from mmcore.data.held_out import HeldOut
from mmcore.data.order import read_rows
from mmcore.data.packing import LookAhead
from mmcore.data.prepare import Preparer
from mmcore.data.reader import SourceReader
from mmcore.data.stable_hash import stable_hash
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PackedBatch, Rejection, SampleKey, SourceSpec, Tiles

LOOK_AHEAD = 32
"""Samples from which a pack is filled."""

GAP = 64
"""Rows of a shard that are less far apart are read together."""


def held_out_keys(reader: SourceReader, held_out: HeldOut, rows: int) -> list[SampleKey]:
    """Keys of the first held-out rows of a source, at most ``rows``.

    Shards are gone through in an order that their names decide and no further than needed; a row
    is read by nobody: its key says whether it is held out.
    """
    found: list[SampleKey] = []
    shards = sorted(reader.shards, key=lambda one: (stable_hash("held-out", one.name), one.name))
    for shard in shards:
        for number in range(reader.length(shard)):
            key = SampleKey(reader.label, shard.name, number)
            if held_out.holds(key):
                found.append(key)
                if len(found) == rows:
                    return found
    return found


class HeldOutPacks:
    """One rank's share of the held-out rows, in packs.

    Rows are read and turned into ids when this is made; pictures are decoded anew every time the
    packs are gone through. A row that cannot be used is left out.

    Args:
        sources: label and spec of every source of the stage.
        preparer: as in training.
        held_out: which rows.
        rows: of a source, at most.
        rank, ranks: every rank takes as many rows, but for one.

    Raises:
        EmptySource, DataFault: as in training.
    """

    def __init__(
        self,
        sources: Sequence[tuple[str, SourceSpec]],
        preparer: Preparer,
        held_out: HeldOut,
        *,
        rows: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._preparer = preparer
        self.blank = blank_batch(preparer.view, preparer.text, preparer.pair_texts)
        self.found: dict[str, int] = {}
        pending: LookAhead[TokenizedSample] = LookAhead(
            LOOK_AHEAD, preparer.max_tokens, preparer.max_views, 2**62
        )
        turn = 0
        for label, spec in sources:
            reader = SourceReader(label, spec)
            keys = held_out_keys(reader, held_out, rows)
            self.found[label] = len(keys)
            mine = [key for place, key in enumerate(keys, turn) if place % ranks == rank]
            turn += len(keys)
            for sample in self._tokenized(reader, mine):
                pending.add(sample)
        self._packs: list[list[TokenizedSample]] = []
        while pending.pending:
            self._packs.append(pending.close())

    def __len__(self) -> int:
        """How many packs there are; the same every time."""
        return len(self._packs)

    def __iter__(self) -> Iterator[PackedBatch]:
        for pack in self._packs:
            yield self._batch(pack)

    def _tokenized(
        self, reader: SourceReader, keys: Sequence[SampleKey]
    ) -> Iterator[TokenizedSample]:
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for key in keys:
            wanted[key.shard].add(key.row)
        for name, numbers in wanted.items():
            for number, row in read_rows(reader, reader.shard(name), numbers, GAP).items():
                key = SampleKey(reader.label, name, number)
                try:
                    sample = reader.parse(row, key)
                    yield from self._preparer.tokenize(sample, reader.spec.overflow)
                except Rejection:
                    continue
                except Exception as error:
                    raise DataFault(f"sample {key}: {describe(error)}") from error

    def _batch(self, pack: Sequence[TokenizedSample]) -> PackedBatch:
        samples: list[TokenizedSample] = []
        tiles: list[Sequence[Tiles]] = []
        for sample in pack:
            try:
                views = self._preparer.realise(sample)
            except Rejection:
                continue
            except Exception as error:
                raise DataFault(f"sample {sample.key}: {describe(error)}") from error
            samples.append(sample)
            tiles.append(views)
        if not samples:
            return self.blank
        return collate(
            samples,
            tiles,
            view=self._preparer.view,
            tokens_per_view=self._preparer.tokens_per_view,
            lane=-1,
            pair_texts=self._preparer.pair_texts,
        )
