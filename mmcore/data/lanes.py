"""One lane: a deterministic stream of packs, made from all sources, that can stop anywhere."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set

import attrs

from mmcore.data.collate import collate
from mmcore.data.faults import DataFault, describe
from mmcore.data.held_out import HELD_OUT
from mmcore.data.lane_state import LaneSettings, LaneState, SourceState, beginning, check_state
from mmcore.data.mixture import Mixture
from mmcore.data.order import RowOrder, read_rows
from mmcore.data.packing import LookAhead
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PackedBatch, Rejection, Row, SampleKey, Shard, Tiles

Note = Callable[[SampleKey | str], None]
"""Told what is worked on next, for whoever finds a dead process."""

MAX_REJECTED_IN_A_ROW = 1000
"""So many rejections of one source without a single good sample mean that something is wrong
with the source rather than with its rows."""

MAX_HELD_OUT_IN_A_ROW = 1000
"""So many rows of one source that are all held out mean that it has no others."""


def unnoted(_: SampleKey | str) -> None:
    """A ``Note`` that nobody reads."""


@attrs.frozen
class RejectedRow:
    """A row that was left out, and why."""

    key: SampleKey
    reason: str
    detail: str


@attrs.frozen(eq=False)
class LanePack:
    """A pack, what happened on the way to it, and the lane's state after it."""

    batch: PackedBatch
    rejected: tuple[RejectedRow, ...]
    counts: Mapping[str, float]
    state: LaneState


class Lane:
    """Draws rows from the sources by share, prepares them, and packs them.

    Args:
        number: which lane.
        readers: the stage's sources, in the order of the recipe; shared with other lanes.
        settings: what the lanes have in common.
        state: where to go on; None begins at the beginning.
        deadly: rows that are rejected unread, for they ended a process.
        note: told each sample before it is worked on.

    Raises:
        ValueError: the state belongs to other sources or settings.
    """

    def __init__(
        self,
        number: int,
        readers: Sequence[SourceReader],
        settings: LaneSettings,
        state: LaneState | None = None,
        *,
        deadly: Set[SampleKey] = frozenset(),
        note: Note = unnoted,
    ) -> None:
        self._deadly, self._note = deadly, note
        self._number, self._readers, self._settings = number, readers, settings
        self._labels = {reader.label: index for index, reader in enumerate(readers)}
        saved = state or beginning(number, self._labels, settings)
        check_state(saved, number, list(self._labels), settings)
        sources = [saved["sources"][reader.label] for reader in readers]
        self._mixture = Mixture(
            [reader.spec.share for reader in readers],
            seed=settings.seed,
            lane=number,
            accepted=[source["accepted"] for source in sources],
        )
        self._orders = [
            RowOrder(
                reader,
                seed=settings.seed,
                lane=number,
                lanes=settings.lanes,
                block_rows=settings.block_rows,
                visit_bytes=settings.visit_bytes(len(readers)),
                cursor=source["cursor"],
            )
            for reader, source in zip(readers, sources, strict=True)
        ]
        preparer = settings.preparer
        self._pending: LookAhead[TokenizedSample] = LookAhead(
            settings.look_ahead, preparer.max_tokens, preparer.max_views, settings.pending_bytes
        )
        self._saved: LaneState | None = saved  # until the first pack is wanted
        self._packs = saved["packs"]
        self._rejected: list[RejectedRow] = []
        self._counts: Counter[str] = Counter()
        self._unusable_in_a_row = [0] * len(readers)
        self._undecodable_in_a_row = [0] * len(readers)
        self._held_out_in_a_row = [0] * len(readers)

    def next(self) -> LanePack:
        """The next pack; lanes have no end.

        Raises:
            EmptySource: a source holds no rows.
            DataFault: a shard cannot be read, or code failed on a row.
        """
        samples: list[TokenizedSample] = []
        tiles: list[Sequence[Tiles]] = []
        while not samples:  # pictures that turn out to be broken may empty a pack
            for sample in self.plan():
                views = self._realise(sample)
                if views is not None:
                    samples.append(sample)
                    tiles.append(views)
        preparer = self._settings.preparer
        self._note("putting a pack together")
        batch = collate(
            samples,
            tiles,
            view=preparer.view,
            tokens_per_view=preparer.tokens_per_view,
            lane=self._number,
            pair_texts=preparer.pair_texts,
        )
        self._packs += 1
        for sample in samples:
            self._counts["samples"] += 1
            self._counts[f"samples/{sample.key.source}"] += 1
        rejected, counts = self.report()
        return LanePack(batch, rejected, counts, self.state())

    def plan(self) -> list[TokenizedSample]:
        """The samples of the next pack, pictures not decoded."""
        self._restore()
        while self._pending.hungry:
            self._draw()
        self._note("choosing the samples of a pack")
        return self._pending.close()

    def report(self) -> tuple[tuple[RejectedRow, ...], dict[str, float]]:
        """Rejected rows and counts since the last report."""
        rejected, counts = tuple(self._rejected), {k: float(v) for k, v in self._counts.items()}
        self._rejected, self._counts = [], Counter()
        return rejected, counts

    def state(self) -> LaneState:
        """Where the lane stands, between two packs."""
        if self._saved is not None:
            return self._saved
        settings = self._settings
        return LaneState(
            lane=self._number,
            lanes=settings.lanes,
            seed=settings.seed,
            block_rows=settings.block_rows,
            read_memory=settings.read_memory,
            packs=self._packs,
            sources={
                reader.label: SourceState(
                    cursor=order.cursor, accepted=accepted, shards=reader.fingerprint
                )
                for reader, order, accepted in zip(
                    self._readers, self._orders, self._mixture.accepted, strict=True
                )
            },
            pending=[(k.source, k.shard, k.row, k.piece) for k in self._pending_keys()],
        )

    def _draw(self) -> None:
        index = self._mixture.next()
        reader = self._readers[index]
        drawn = self._orders[index].next()
        key = SampleKey(reader.label, drawn.shard.name, drawn.number)
        self._counts[f"drawn/{reader.label}"] += 1
        if self._held_out(index, key):
            return
        pieces = self._prepare(reader, key, drawn.row)
        if not pieces:
            return
        self._mixture.accept(index)
        self._unusable_in_a_row[index] = 0
        self._counts["shrunk"] += pieces[0].shrunk
        self._counts["truncated"] += pieces[0].truncated
        self._counts["split"] += pieces[0].pieces > 1
        self._counts["dropped_pieces"] += pieces[0].dropped
        for piece in pieces:
            self._pending.add(piece)

    def _held_out(self, index: int, key: SampleKey) -> bool:
        """Whether the row is validation's; counted if so."""
        if not self._settings.held_out.holds(key):
            self._held_out_in_a_row[index] = 0
            return False
        self._counts[HELD_OUT] += 1
        self._counts[f"{HELD_OUT}/{key.source}"] += 1
        self._held_out_in_a_row[index] += 1
        if self._held_out_in_a_row[index] >= MAX_HELD_OUT_IN_A_ROW:
            raise DataFault(
                f"source {key.source!r}: {MAX_HELD_OUT_IN_A_ROW} rows in a row are held out for "
                "validation, and none is left to train on; lower validation.share"
            )
        return True

    def _prepare(self, reader: SourceReader, key: SampleKey, row: Row) -> list[TokenizedSample]:
        """The samples of a row; none if it was rejected."""
        self._note(key)
        try:
            if key in self._deadly:
                raise Rejection("deadly-row", "a process that worked on it died twice")
            sample = reader.parse(row, key)
            return self._settings.preparer.tokenize(sample, reader.spec.overflow)
        except Rejection as rejection:
            self._reject(key, rejection, self._unusable_in_a_row)
            return []
        except Exception as error:
            raise DataFault(f"sample {key}: {describe(error)}") from error

    def _realise(self, sample: TokenizedSample) -> Sequence[Tiles] | None:
        """Its views; None if a picture cannot be decoded, and the source's turn is given back."""
        index = self._labels[sample.key.source]
        self._note(attrs.evolve(sample.key, piece=-1))
        try:
            views = self._settings.preparer.realise(sample)
        except Rejection as rejection:
            self._reject(sample.key, rejection, self._undecodable_in_a_row)
            if sample.key.piece <= 0:  # a row took one turn, however many pieces it became
                self._mixture.give_back(index)
            return None
        except Exception as error:
            raise DataFault(f"sample {sample.key}: {describe(error)}") from error
        self._undecodable_in_a_row[index] = 0
        return views

    def _reject(self, key: SampleKey, rejection: Rejection, in_a_row: list[int]) -> None:
        self._rejected.append(RejectedRow(key, rejection.reason, rejection.detail))
        self._counts["rejected"] += 1
        self._counts[f"rejected/{rejection.reason}"] += 1
        index = self._labels[key.source]
        in_a_row[index] += 1
        if in_a_row[index] >= MAX_REJECTED_IN_A_ROW:
            raise DataFault(
                f"source {key.source!r}: {MAX_REJECTED_IN_A_ROW} rows in a row were rejected, "
                f"the last one was {key}: {rejection}"
            )

    def _pending_keys(self) -> list[SampleKey]:
        return [sample.key for sample in self._pending.pending]

    def _restore(self) -> None:
        """Read again what the saved state calls pending; the first time that a pack is wanted."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        for reader in self._readers:
            then = saved["sources"][reader.label]["shards"]
            if then is not None and reader.shards and then != reader.fingerprint:
                raise DataFault(
                    f"source {reader.label!r}: its shards are not those of the saved run "
                    f"(path {reader.spec.path!r}); begin the stage anew or restore the files"
                )
        wanted: dict[tuple[str, str], set[int]] = defaultdict(set)
        for label, shard, row, _ in saved["pending"]:
            wanted[label, shard].add(row)
        pieces: dict[SampleKey, TokenizedSample] = {}
        for (label, shard), numbers in wanted.items():
            reader = self._readers[self._labels[label]]
            pieces |= self._again(reader, reader.shard(shard), numbers)
        for key in (SampleKey(*pending) for pending in saved["pending"]):
            if key in pieces:
                self._pending.add(pieces[key])

    def _again(
        self, reader: SourceReader, shard: Shard, numbers: set[int]
    ) -> dict[SampleKey, TokenizedSample]:
        """The samples of rows that were accepted before; one that meanwhile became unreadable
        is rejected and gives its turn back."""
        pieces: dict[SampleKey, TokenizedSample] = {}
        for number, row in read_rows(reader, shard, numbers, self._settings.block_rows).items():
            made = self._prepare(reader, SampleKey(reader.label, shard.name, number), row)
            pieces |= {one.key: one for one in made}
            if not made:
                self._mixture.give_back(self._labels[reader.label])
        return pieces
